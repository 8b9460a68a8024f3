"""`python -m evidence`: runs seeds and controls, and writes the page from what they left."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from evidence.experiments import EXPERIMENTS, MAIN, to_run

_DEFAULT = [MAIN, "shuffled_rewards"]
_SEEDS = list(range(20, 30))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what the command line names; what is fresh is skipped."""
    options = _parser().parse_args(arguments)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Torch and Kedro are loaded after that.
    from evidence import page, running

    folder = options.folder.resolve()
    if not options.page_only:
        running.note_command(folder, _command(sys.argv[1:] if arguments is None else arguments))
        experiments = to_run(options.experiments)
        running.run_all(folder, experiments, options.seeds, options.quick, options.threads)
    out = options.out or (folder / "docs" if options.quick else Path("docs"))
    print(f"Written: {page.write(folder, out, options.quick)}")


def _command(arguments: Sequence[str]) -> str:
    """As typed, without the names of folders."""
    said = list(arguments)
    for name in ("--folder", "--out"):
        if name in said:
            said[said.index(name) + 1] = name.removeprefix("--").upper()
    return shlex.join(["python", "-m", "evidence", *said])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evidence", description=__doc__)
    folder, names = Path("build/evidence"), ", ".join(EXPERIMENTS)
    parser.add_argument(
        "--folder",
        type=Path,
        default=folder,
        help=f"project of the runs ({folder})",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=_SEEDS, help=f"({_SEEDS})")
    parser.add_argument(
        "--experiments",
        nargs="+",
        default=_DEFAULT,
        choices=EXPERIMENTS,
        metavar="NAME",
        help=f"besides {MAIN}, of: {names} ({' '.join(_DEFAULT)})",
    )
    parser.add_argument("--threads", type=int, help="of the CPU (conf/base/globals.yml)")
    parser.add_argument("--out", type=Path, help="where the page goes (docs; quick: FOLDER/docs)")
    parser.add_argument("--page-only", action="store_true", help="runs nothing")
    parser.add_argument(
        "--quick", action="store_true", help="engines without a model: that it runs, no figure"
    )
    return parser


if __name__ == "__main__":
    main()
