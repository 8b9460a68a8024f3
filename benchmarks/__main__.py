"""`python -m benchmarks`: runs the parts, and writes their tables as JSON and Markdown."""

import argparse
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.report import Table
from benchmarks.rounds import Setting

PARTS = {
    "judging": "benchmarks.generation:run_judging",
    "sampling": "benchmarks.generation:run_sampling",
    "smollm": "benchmarks.smollm:run",
    "training": "benchmarks.training:run",
    "novelty": "benchmarks.novelty:run",
    "memory": "benchmarks.memory:run",
    "growth": "benchmarks.growth:run",
    "driver": "benchmarks.driver:run",
    "scheduling": "benchmarks.scheduling:run",
    "replicas": "benchmarks.replicas:run",
    "protection": "benchmarks.protection:run",
}
"""In the order of the report; each is a function that takes the setting and gives tables."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what the command line names."""
    options = _parser().parse_args(arguments)
    _one_thread_and_no_calls()
    import torch
    from transformers.utils import logging

    from benchmarks import machine

    logging.disable_progress_bar()
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        torch.set_num_threads(1)
    out = options.out or _folder(options.quick)
    for part in options.only:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
            setting = Setting(options.rounds, options.quick, device, Path(folder), options.vllm)
            tables: list[Table] = []
            for table in _entry(part)(setting):
                tables.append(report.without_targets(table) if options.quick else table)
                # After each table: a run that is broken off keeps what it has shown.
                report.write(machine.describe(setting), {part: tables}, out, device)
    print(f"Written: {out / device}.json and .md")


def _folder(quick: bool) -> Path:
    """Where results are kept; those of a quick run never stand in the place of measured ones."""
    if quick:
        return Path(tempfile.mkdtemp(prefix="benchmarks-quick-"))
    return Path(__file__).parent / "results"


def _entry(part: str) -> Callable[[Setting], Iterable[Table]]:
    module, _, function = PARTS[part].partition(":")
    return getattr(importlib.import_module(module), function)


def _one_thread_and_no_calls() -> None:
    """Before torch is imported: nobody else's threads, nobody on the network."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ",".join(PARTS)
    parser.add_argument("--only", type=_parts, default=list(PARTS), help=f"some of {names}")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of a contest (5)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: that it runs, no figure")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument("--vllm", type=Path, help="a Python that has vLLM for processors (smollm)")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results; quick: a new folder")
    return parser


def _parts(text: str) -> list[str]:
    asked = text.split(",")
    if unknown := sorted(set(asked) - set(PARTS)):
        raise argparse.ArgumentTypeError(
            f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}"
        )
    return [part for part in PARTS if part in asked]


if __name__ == "__main__":
    main()
