"""`python -m tests.torture`: kills a small whole run again and again; status 1 on any loss."""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

from benchmarks.project import inside
from tests.torture.project import Ended, Kill, TortureProject

_TOLD_EVERY = 20


def main() -> int:
    """Runs what the command line asks for."""
    options = _parser().parse_args()
    _warm_up()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        folder = Path(name).resolve() / "project"
        folder.mkdir()
        with inside(folder):
            torture = Torture(TortureProject(folder, options.scripted), options.seed)
            kills = (
                torture.at_writes(options.nodes)
                if options.writes
                else torture.at_random(options.kills)
            )
            counted: Counter[str] = Counter()
            for number, fell in enumerate(kills, start=1):
                counted[fell] += 1
                if number % _TOLD_EVERY == 0:
                    print(f"  {number} kills", flush=True)
        if torture.faults:
            print("\n".join(torture.faults), (folder / "run.log").read_text()[-4000:], sep="\n")
    print(_table(counted))
    lost = "nothing lost" if not torture.faults else f"{len(torture.faults)} faults"
    print(f"{counted.total()} kills, {torture.ends} runs to their end: {lost}.")
    return bool(torture.faults)


class Torture:
    """Kills runs of one project, each time where the last kill left it, and compares."""

    def __init__(self, project: TortureProject, seed: int) -> None:
        """Runs the project undisturbed, to know what must come out and how long nodes take."""
        self._project, self._chance = project, random.Random(seed)
        self.faults: list[str] = []
        self.ends = 0
        start = time.monotonic()
        ended = project.run()
        if ended.status:
            raise SystemExit((project.folder / "run.log").read_text()[-4000:])
        self._outputs = {whole: project.outputs(whole) for whole in (True, False)}
        self._points = project.points()
        begun = [*ended.nodes, ("", time.monotonic() - start)]
        self._seconds = {
            name: begun[place + 1][1] - at for place, (name, at) in enumerate(ended.nodes)
        }
        print(f"Undisturbed: {len(ended.nodes)} nodes, {begun[-1][1]:.0f} s.", flush=True)
        project.wipe()

    def at_random(self, kills: int) -> Iterator[str]:
        """Kills at a random instant of one node after the other; gives where each fell."""
        left = kills
        while left and not self.faults:
            for node, seconds in list(self._seconds.items())[:left]:
                kill = Kill(node, self._chance.random() * seconds)
                if fell := self._judged(self._project.run(kill=kill)):
                    left -= 1
                    yield fell
            self._finish()

    def at_writes(self, kinds: list[str]) -> Iterator[str]:
        """Kills before each writing call of one node of each kind; gives where each fell."""
        nodes = list(self._seconds)
        first = {node.rpartition(".")[2]: node for node in reversed(nodes)}
        for node, following in zip(nodes, [*nodes[1:], None], strict=True):
            kind = node.rpartition(".")[2]
            if node != first[kind] or kind not in (kinds or first):
                continue
            count = 1
            # The node after it is where a run dies that has passed all of this one's calls.
            while not self.faults:
                targets = {node: count, **({following: 1} if following else {})}
                fell = self._judged(self._project.run(writes=targets))
                if fell is None:
                    break
                yield fell
                if fell != node:
                    break
                count += 1
        self._finish()

    def _finish(self) -> None:
        """The same command, undisturbed, until all is there; then the next begins anew."""
        if not self.faults:
            self._judged(self._project.run())

    def _judged(self, ended: Ended) -> str | None:
        """Where a run was killed, after a look at what it left; None if it came to its end."""
        if ended.status == -signal.SIGKILL:
            self._compare("after a kill", self._project.outputs(whole=False), whole=False)
            return ended.nodes[-1][0] if ended.nodes else "before the first node"
        if ended.status:
            self.faults.append(f"a run failed by itself with status {ended.status}")
            return None
        self.ends += 1
        self._compare("at the end", self._project.outputs(whole=True), whole=True)
        if self._project.points() != self._points:
            self.faults.append("MLflow holds other points than of an undisturbed run")
        if "RUNNING" in self._project.statuses():
            self.faults.append("MLflow has a run that is left RUNNING")
        self._project.wipe()
        return None

    def _compare(self, when: str, found: dict[str, str], whole: bool) -> None:
        wanted = self._outputs[whole]
        others = sorted(name for name, digest in found.items() if wanted.get(name) != digest)
        missing = sorted(set(wanted) - set(found)) if whole else []
        self.faults += [f"{when}: {name} has other bytes" for name in others]
        self.faults += [f"{when}: {name} is not there" for name in missing]


def _table(counted: Counter[str]) -> str:
    """Where the kills fell: a line a kind of node."""
    kinds: Counter[str] = Counter()
    for node, count in counted.items():
        kinds[node.rpartition(".")[2]] += count
    return "\n".join(f"{count:5}  {kind}" for kind, count in kinds.most_common())


def _warm_up() -> None:
    """Imports once what every child needs; none of it may start a thread."""
    import great_expectations  # noqa: F401
    import mlflow  # noqa: F401
    import trl  # noqa: F401

    import benchmarks.growth  # noqa: F401
    import srlm_kedro.engines.training.trl.engine  # noqa: F401


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills at random instants (200)")
    parser.add_argument("--writes", action="store_true", help="kill before each writing call")
    parser.add_argument("--nodes", nargs="+", default=[], help="kinds of node to write in (all)")
    parser.add_argument("--scripted", action="store_true", help="engines without a model: faster")
    parser.add_argument("--seed", type=int, default=0, help="of the random instants")
    return parser


if __name__ == "__main__":
    sys.exit(main())
