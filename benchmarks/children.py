"""Work in a process of its own, so that its memory is its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def told_by(module: str, asked: Sequence[Any]) -> Any:
    """What a module says as the last line of its output, as JSON; it gets what is asked as JSON.

    The process imports from where this one does.
    """
    said = subprocess.run(
        [sys.executable, "-m", module, json.dumps(list(asked))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(said.stdout.splitlines()[-1])
