"""One bar for the whole run in a terminal: stage, share done, time spent, time left."""

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

from srlm_kedro.display.log_lines import redirected
from srlm_kedro.display.progress import duration, listen, unlisten
from srlm_kedro.freshness.hooks import UnsavedOutputs
from srlm_kedro.running.remaining_time import RemainingTime, expected_times
from srlm_kedro.running.stage_names import stage_name

_REFRESHES = 2
"""How often the bar is drawn, per second."""
_WIDTH = 12


class Bar:
    """The bar; Kedro's hooks, drawing and training report to it how far the run is."""

    def __init__(self) -> None:
        self._time = RemainingTime({})
        self._counts: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._count = 0
        self._unsaved = UnsavedOutputs()
        self._lock = threading.RLock()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Looks up how long the nodes took before."""
        with self._lock:
            expected = expected_times(pipeline.nodes, catalog)
            self._time = RemainingTime(expected, start=self._time.start)
            self._count = len(pipeline.nodes)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """A node starts."""
        with self._lock:
            self._unsaved.expect(node)
            self._numbers[node.name] = len(self._numbers) + 1
            self._time.begin(node.name)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """A node is done when its last output is saved."""
        with self._lock:
            if self._unsaved.saved(dataset_name, node):
                self._time.end(node.name)

    def update(self, node: str, done: float, total: float, count: str) -> None:
        """A drawing or training has done `done` of `total`; `count` says so in words."""
        with self._lock:
            self._counts[node] = count
            self._time.update(node, done, total)

    def __rich__(self) -> Table:
        """One line, whatever the width of the terminal."""
        with self._lock:
            left, share = self._time.left(), self._time.share()
            line = Table.grid(padding=(0, 1), expand=True)
            line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
            for _ in range(3):
                line.add_column(no_wrap=True)
            remaining = f", about {duration(left)} left" if left and left >= 1 else ""
            line.add_row(
                self._stage(),
                ProgressBar(total=1.0, completed=share, width=_WIDTH),
                f"{share:4.0%}",
                f"{duration(self._time.elapsed)}{remaining}",
            )
            return line

    def _stage(self) -> str:
        at_work = self._time.at_work
        if not self._numbers or not (at_work or len(self._numbers) < self._count):
            return "ending" if self._numbers else "starting"
        node = at_work[-1] if at_work else list(self._numbers)[-1]
        count = f", {self._counts[node]}" if node in self._counts else ""
        more = f" (and {len(at_work) - 1} more)" if len(at_work) > 1 else ""
        return f"{self._numbers[node]}/{self._count} {stage_name(node)}{count}{more}"


class _StreamAboveBar:
    """A stream that prints its lines above the bar; a narrow terminal wraps them."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        if line := text.rstrip("\n"):
            self._console.print(Text(line), soft_wrap=True)

    def flush(self) -> None:
        self._console.file.flush()


@contextmanager
def progress_bar(wanted: bool = True) -> Iterator[Bar | None]:
    """Shows a bar, which the caller registers as a hook; None if stderr is no terminal."""
    if not (wanted and sys.stderr.isatty()) or os.environ.get("TERM") == "dumb":
        yield None
        return
    bar = Bar()
    console = Console(file=sys.stderr)
    with Live(bar, console=console, refresh_per_second=_REFRESHES, transient=True):
        console.show_cursor(True)  # a killed process could not show it again
        listen(bar.update)
        try:
            with redirected(_StreamAboveBar(console)):
                yield bar
        finally:
            unlisten(bar.update)
