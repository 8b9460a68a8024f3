"""One bar for the whole run, in a terminal: the stage, the share done, time spent and time left."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from srlm_kedro.display.log_lines import above
from srlm_kedro.display.progress import lasting, listen, unlisten
from srlm_kedro.freshness.unsaved import Unsaved
from srlm_kedro.running.remaining_time import Pace, expect
from srlm_kedro.running.stage_names import stage

_A_SECOND = 2
"""How often it is drawn."""
_WIDTH = 12


class Bar:
    """The bar; Kedro's hooks and the work itself tell it how far the run is."""

    def __init__(self) -> None:
        self._pace = Pace({})
        self._words: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._count = 0
        self._unsaved = Unsaved()
        self._lock = threading.RLock()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Looks how long the nodes took before."""
        with self._lock:
            expected = expect(pipeline.nodes, catalog)
            self._pace = Pace(expected, start=self._pace.start)
            self._count = len(pipeline.nodes)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """A node starts."""
        with self._lock:
            self._unsaved.expect(node)
            self._numbers[node.name] = len(self._numbers) + 1
            self._pace.begin(node.name)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """With its last output a node is done."""
        with self._lock:
            if self._unsaved.saved(dataset_name, node):
                self._pace.end(node.name)

    def reach(self, node: str, done: float, total: float, words: str) -> None:
        """A drawing or training has come so far."""
        with self._lock:
            self._words[node] = words
            self._pace.reach(node, done, total)

    def __rich__(self) -> Table:
        """One line, whatever the width."""
        with self._lock:
            left, share = self._pace.left(), self._pace.share()
            line = Table.grid(padding=(0, 1), expand=True)
            line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
            for _ in range(3):
                line.add_column(no_wrap=True)
            soon = f", about {lasting(left)} left" if left and left >= 1 else ""
            line.add_row(
                self._stage(),
                ProgressBar(total=1.0, completed=share, width=_WIDTH),
                f"{share:4.0%}",
                f"{lasting(self._pace.passed)}{soon}",
            )
            return line

    def _stage(self) -> str:
        at_work = self._pace.at_work
        if not self._numbers or not (at_work or len(self._numbers) < self._count):
            return "ending" if self._numbers else "starting"
        node = at_work[-1] if at_work else list(self._numbers)[-1]
        far = f", {self._words[node]}" if node in self._words else ""
        more = f" (and {len(at_work) - 1} more)" if len(at_work) > 1 else ""
        return f"{self._numbers[node]}/{self._count} {stage(node)}{far}{more}"


class _Above:
    """A stream whose lines stand above the bar; the terminal breaks them where it is narrow."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        if line := text.rstrip("\n"):
            self._console.print(Text(line), soft_wrap=True)

    def flush(self) -> None:
        self._console.file.flush()


@contextmanager
def shown(wanted: bool = True) -> Iterator[Bar | None]:
    """A bar while the run lasts, to be registered as a hook; None where nobody watches."""
    if not (wanted and sys.stderr.isatty()) or os.environ.get("TERM") == "dumb":
        yield None
        return
    bar = Bar()
    console = Console(file=sys.stderr)
    live = Live(bar, console=console, refresh_per_second=_A_SECOND, transient=True)
    with live:
        console.show_cursor(True)  # who is killed cannot bring it back
        listen(bar.reach)
        try:
            with above(_Above(console)):
                yield bar
        finally:
            unlisten(bar.reach)
