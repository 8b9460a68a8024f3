"""The page: header, sections, criteria; pictures and the table of all figures beside it."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import processor
from evidence import criteria, plots, result, sections
from evidence.figures import Figures, read
from evidence.running import notes

_PACKAGES = (
    *("srlm_kedro", "kedro", "mlflow", "great-expectations", "torch", "transformers", "trl"),
    *("numpy", "pandas"),
)


def write(project: Path, out: Path, scripted: bool = False) -> Path:
    """`evidence.md`, `result.svg` and the folder `evidence/` of what is finished in a project.

    Args:
        project: Where the runs lie.
        out: Where the page goes.
        scripted: The runs had engines without a model, and the page says so.
    """
    figures, noted = read(project), notes(project)
    folder = out / "evidence"
    plots.draw_all(figures, folder)
    result.draw(figures, out)
    figures.table.to_csv(folder / "figures.csv", index=False, float_format="%.6g")
    page = out / "evidence.md"
    page.write_text("\n".join(lines(figures, noted, scripted)).rstrip() + "\n", "utf-8")
    return page


def lines(figures: Figures, noted: Mapping[str, Any], scripted: bool) -> list[str]:
    """The page, line by line."""
    return [
        *_header(figures, noted["commands"], scripted),
        *sections.head_to_head(figures),
        *sections.errors(figures),
        *sections.own_accuracy(figures),
        *sections.reward_modelling(figures),
        *sections.lengths(figures),
        *sections.curve(figures),
        *sections.ablations(figures),
        *sections.stopped(noted["stopped"]),
        *criteria.table(figures),
    ]


def _header(figures: Figures, commands: Sequence[str], scripted: bool) -> list[str]:
    hours = figures.table.loc[figures.table["figure"] == "hours", "value"].sum()
    versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in _PACKAGES)
    runs = "; ".join(
        f"{name}: {', '.join(map(str, figures.seeds(name)))}" for name in figures.experiments
    )
    warning = ["**Scripted engines: these figures say nothing.**", ""] if scripted else []
    return [
        "# Evidence",
        "",
        *warning,
        "`make evidence` writes this page. Every figure was read from what the runs left, and is",
        "in [figures.csv](evidence/figures.csv). The paper's figures: arXiv 2401.10020.",
        "",
        *(f"- command: `{command}`" for command in commands),
        f"- seeds: {runs or 'none is finished'}",
        f"- hours of work, in all: {hours:.1f}",
        f"- machine: {processor.name()}, {os.cpu_count()} cores",
        f"- python {platform.python_version()}, {versions}",
        "",
    ]
