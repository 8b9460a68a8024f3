"""Tables: kept as JSON, and written as Markdown from that JSON."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rounds import OURS, Score
from benchmarks.targets import Target

Cell = str | float | int | bool | None


@dataclass(frozen=True)
class Table:
    """Rows under one title; a cell that does not apply is None."""

    title: str
    rows: list[dict[str, Cell]]
    notes: list[str] = field(default_factory=list)
    ratios: list[dict[str, Cell]] = field(default_factory=list)
    """A second table below: ours against the others."""


def contest(
    title: str,
    scores: Sequence[Score],
    unit: str,
    targets: Mapping[tuple[str, str], Target] | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """A row a contestant with its rate; below, how many times as fast ours is as each other.

    Args:
        title: What is done.
        scores: Ours and the others', in the order of the rows.
        unit: What the rates count, in the singular.
        targets: Of the ratios; by the names of ours and of the other.
        notes: Sentences under the table.
    """
    rates = [
        {"contestant": s.name, f"{unit}s/s": s.median, **_spread(s.rates), "rounds": len(s.rates)}
        for s in scores
    ]
    ours = [score for score in scores if score.name.startswith(OURS)]
    others = [score for score in scores if score not in ours]
    named = targets or {}
    ratios = [
        _ratio(one, other, named.get((one.name, other.name)))
        for one in ours
        for other in others
        if other.beside in (None, one.name)
    ]
    return Table(title, rates, list(notes), ratios)


def _ratio(one: Score, other: Score, target: Target | None) -> dict[str, Cell]:
    """The median of the ratios of the rounds that both ran, which the same minutes befell."""
    # A roofline is one figure for all rounds.
    against = other.rates * len(one.rates) if len(other.rates) == 1 else other.rates
    rounds = [rate / beside for rate, beside in zip(one.rates, against, strict=False)]
    times = statistics.median(rounds)
    return {
        "ours": one.name,
        "against": other.name,
        "times": times,
        **_spread(rounds),
        "target": str(target) if target else None,
        "met": target.met(times) if target else None,
    }


def _spread(figures: Sequence[float]) -> dict[str, Cell]:
    return {"lowest": min(figures), "highest": max(figures)}


def without_targets(table: Table) -> Table:
    """The same table, judged by nothing: tiny sizes neither meet a target nor miss it."""
    bare = {"target": None, "met": None}
    rows, ratios = (
        [{key: bare.get(key, value) for key, value in row.items()} for row in each]
        for each in (table.rows, table.ratios)
    )
    return Table(table.title, rows, table.notes, ratios)


def write(
    machine: Mapping[str, Cell], parts: Mapping[str, Sequence[Table]], folder: Path, name: str
) -> None:
    """`name`.json and `name`.md; parts of an earlier run that this one left out stay."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    kept = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    for part, tables in parts.items():
        kept[part] = {"machine": machine, "tables": [_rounded(asdict(table)) for table in tables]}
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(markdown(kept), encoding="utf-8")


def markdown(parts: Mapping[str, Any]) -> str:
    """The page of what a JSON file holds."""
    lines = ["# Benchmarks", "", "Written by `make bench`; every figure is in the JSON beside."]
    for part in parts.values():
        for table in part["tables"]:
            lines += ["", f"## {table['title']}", "", *table_lines(table["rows"])]
            if table["ratios"]:
                lines += ["", *table_lines(table["ratios"])]
            lines += [f"\n{note}" for note in table["notes"]]
    for machine, names in _machines(parts):
        lines += ["", f"## Machine of {', '.join(names)}", ""]
        lines += [f"- {key}: {_cell(value)}" for key, value in machine.items()]
    return "\n".join(lines) + "\n"


def _machines(parts: Mapping[str, Any]) -> list[tuple[dict[str, Cell], list[str]]]:
    """Each machine described, with the parts that ran on it."""
    found: list[tuple[dict[str, Cell], list[str]]] = []
    for name, part in parts.items():
        names = next((names for machine, names in found if machine == part["machine"]), None)
        if names is None:
            found.append((part["machine"], [name]))
        else:
            names.append(name)
    return found


def table_lines(rows: Sequence[Mapping[str, Cell]]) -> list[str]:
    """The lines of a table, without the columns in which nothing stands."""
    columns = [key for key in (rows[0] if rows else ()) if any(r[key] is not None for r in rows)]
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row[key]) for key in columns] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] if rows else []


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(value: Any) -> Any:
    """The same with four digits a number."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
