"""The estimate as text: by model, by stage and in all, with memory and disk."""

from typing import Any

import pandas as pd

from srlm_kedro.pipelines.estimate import costs
from srlm_kedro.pipelines.estimate.devices import device_for
from srlm_kedro.pipelines.estimate.params import EstimateParams

_TOKENS = ["prompt_tokens", "prefill_tokens", "new_tokens", "train_tokens"]
_HEADER = ["read", "computed", "drawn", "trained on", "examples", "time"]
_LEGEND = """tokens: read (each request's prompt once), computed (of these, where the engine shares
prefixes), drawn, trained on (all epochs). examples: of training; from M2 on pairs.
around: the rest of a run, which needs no model (imports, checks, report).
Assumed lengths and shares: src/srlm_kedro/pipelines/estimate/params.py; set yours as
`estimate.*`. Left out: retries of judgements, and what a failed run repeats."""


def summarise_estimate(
    estimate_table: pd.DataFrame,
    estimate_draws: pd.DataFrame,
    estimate_training: pd.DataFrame,
    estimate_size: dict[str, Any],
    estimate: EstimateParams,
    machine: dict[str, float | str],
) -> str:
    """A table by model, one by stage, the total, memory, disk, and whether it fits the device."""
    is_here, estimate = estimate.device == "auto", estimate.on(machine)
    device = device_for(estimate.device, estimate_size["parameters"])
    peak = costs.memory(estimate_draws, estimate_training, estimate_size, estimate)
    bytes_ = costs.disk(estimate_table, estimate_training, estimate_size, estimate)
    lines = [*_by(estimate_table, "model"), *_by(estimate_table, "stage")]
    lines.append(_line("in all", estimate_table))
    if device.memory is None:
        on = estimate.device
        room = f"memory, GiB of this machine's {machine['memory']:g}, of which the process itself "
        room += f"needs {costs.PROCESS}"
        verdict = costs.machine_verdict(peak, machine["memory"])
    else:
        on = f"{estimate.devices} x {estimate.device}"
        on += f", on {machine['nodes']:g} nodes of the cluster" if "nodes" in machine else ""
        room = f"memory, GiB per device of {device.memory:g}"
        verdict = costs.verdict(peak, estimate.devices, device.memory)
        verdict += f". The process needs {costs.PROCESS} GiB more on the host"
        if not is_here:
            verdict += (
                ". Without such a device, a run takes this machine's CPU "
                f"({machine['memory']:g} GiB): estimate that with `estimate.device=cpu`"
            )
    parts = ", ".join(f"{name} {gib:.1f}" for name, gib in peak.items())
    return "\n".join(
        [
            f"Expected cost from M0, {estimate_size['model']}, with "
            f"{_count(estimate_size['parameters'])} parameters ({estimate_size['source']}), on "
            f"{on} ({device.source}):",
            "",
            _aligned(lines),
            "",
            _slowest(estimate_table),
            f"{room}: {parts}; {verdict}.",
            *_steps(estimate_training),
            "disk: " + ", ".join(f"{name} {_size(value)}" for name, value in bytes_.items()) + ".",
            _LEGEND,
            "",
        ]
    )


def _slowest(table: pd.DataFrame) -> str:
    """A line with the stage that takes the most time."""
    row = table.loc[table["hours"].idxmax()]
    share = row["hours"] / table["hours"].sum()
    return (
        f"slowest: {row['stage']} ({row['model']}), {duration(row['hours'])}, {share:.0%} of all."
    )


def _steps(training: pd.DataFrame) -> list[str]:
    """A line with the optimizer steps of each training, and a warning for each that has few."""
    named = zip(training["model"], training["optimizer_steps"], strict=True)
    told = ", ".join(f"{name} {steps:,}" for name, steps in named)
    few = training[training["warning"] != ""]
    return [
        f"optimizer steps: {told}.",
        *(f"WARNING: {row.model}: {row.warning}" for row in few.itertuples()),
    ]


def _by(table: pd.DataFrame, column: str) -> list[list[str]]:
    """A header, a line for each model or stage, and an empty line."""
    groups = table.groupby(column, sort=False)
    order = list(groups.groups) if column == "stage" else sorted(groups.groups, key=_chain)
    rows = [_line(str(name), groups.get_group(name)) for name in order]
    return [[column, *_HEADER], *rows, [""] * (len(_HEADER) + 1)]


def _chain(model: str) -> tuple[int, str]:
    """Sorts models in the order in which they are made."""
    order = {"m0": -3, "sft": -2, "eft": -1, "all": 10**6}
    return order.get(model, int(model[1:]) if model[1:].isdecimal() else 0), model


def _line(name: str, rows: pd.DataFrame) -> list[str]:
    counts = [_count(rows[column].sum()) for column in [*_TOKENS, "examples"]]
    return [name, *counts, duration(rows["hours"].sum())]


def duration(hours: float) -> str:
    """Hours in a unit that people use: 34 s, 7 min, 5.2 h, 12 days."""
    seconds = hours * 3600
    if seconds < 120:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{seconds / 60:.0f} min"
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.0f} days"


def _count(number: float) -> str:
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.1f}{name}"
    return f"{number:.0f}" if number else "-"


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    first, *rest = widths
    return "\n".join(
        "  ".join([line[0].ljust(first), *map(str.rjust, line[1:], rest)]).rstrip()
        for line in lines
    )
