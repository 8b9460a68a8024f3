"""`python -m tests.package_picture`: docs/architecture.svg, drawn from the imports.

Each box is a package or module at the root of `srlm_kedro`. An arrow leads from who imports to who
is imported, and runs downwards. Arrows that others imply are left out: where A imports B and B
imports C, none is drawn from A to C.
"""

from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGE = "srlm_kedro"
_WIDTH, _ROW, _HEIGHT, _MARGIN = 960, 84, 34, 24
_STYLE = """
    .card { fill: #ffffff; stroke: #d0d7de; }
    text { fill: #1f2328; font-family: system-ui, sans-serif; font-size: 14px; }
    .box { fill: #ddf4ff; stroke: #0969da; }
    .module { fill: #f6f8fa; stroke: #818b98; }
    .arrow { fill: none; stroke: #818b98; }
    .tip { fill: #818b98; }
    @media (prefers-color-scheme: dark) {
      .card { fill: #0d1117; stroke: #3d444d; }
      text { fill: #f0f6fc; }
      .box { fill: #0c2d4d; stroke: #58a6ff; }
      .module { fill: #151b23; stroke: #9198a1; }
      .arrow { stroke: #9198a1; }
      .tip { fill: #9198a1; }
    }
"""

Graph = Mapping[str, set[str]]


def imports() -> dict[str, set[str]]:
    """Who at the root of the package imports whom there."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    children = sorted(graph.find_children(PACKAGE) - {f"{PACKAGE}.__main__"})
    for child in children:
        graph.squash_module(child)
    found = {child: graph.find_modules_directly_imported_by(child) for child in children}
    return {_short(one): {_short(to) for to in found[one] if to in found} for one in found}


def reduced(graph: Graph) -> dict[str, set[str]]:
    """Without the arrows that others imply."""
    beyond = {name: set().union(*(_reached(graph, to) for to in graph[name])) for name in graph}
    return {name: graph[name] - beyond[name] for name in graph}


def rows(graph: Graph) -> list[list[str]]:
    """The names from top to bottom: each above all that it imports.

    Raises:
        graphlib.CycleError: Two import each other.
    """
    level: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        level[name] = 1 + max((level[to] for to in graph[name]), default=-1)
    found: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    for name in sorted(level):
        found[level[name]].append(name)
    return found[::-1]


def picture(graph: Graph) -> str:
    """The SVG, the same bytes for the same imports."""
    arrows, lines = reduced(graph), rows(graph)
    places = _places(lines, arrows)
    height = 2 * _MARGIN + _ROW * (len(lines) - 1) + _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-label="The packages of {PACKAGE}">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="tip" d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect class="card" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        *(_arrow(places[one], places[to]) for one in sorted(arrows) for to in sorted(arrows[one])),
        *(_box(name, *places[name]) for name in sorted(places)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _reached(graph: Graph, name: str) -> set[str]:
    found, waiting = set(), [name]
    while waiting:
        waiting += graph[waiting.pop()] - found
        found.update(waiting)
    return found


def _places(lines: list[list[str]], arrows: Graph) -> dict[str, tuple[float, float]]:
    """The middle of each box; in a row by the places of those above that import it."""
    places: dict[str, tuple[float, float]] = {}
    for at, line in enumerate(lines):
        above = {
            name: [places[one][0] for one in places if name in arrows[one]] or [_WIDTH / 2]
            for name in line
        }
        ordered = sorted(line, key=lambda name: (sum(above[name]) / len(above[name]), name))
        step = (_WIDTH - 2 * _MARGIN) / len(ordered)
        for place, name in enumerate(ordered):
            places[name] = (_MARGIN + step * (place + 0.5), _MARGIN + _ROW * at + _HEIGHT / 2)
    return places


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    y, to_y = y + _HEIGHT / 2, to_y - _HEIGHT / 2 - 1
    bend = (to_y - y) / 2
    points = [(x, y), (x, y + bend), (to_x, to_y - bend), (to_x, to_y)]
    first, *rest = (f"{one:.1f},{other:.1f}" for one, other in points)
    course = f"M{first} C{' '.join(rest)}"
    return f'<path class="arrow" d="{course}" marker-end="url(#tip)"/>'


def _box(name: str, x: float, y: float) -> str:
    wide = 9 * len(name) + 20
    kind = "box" if (ROOT / "src" / PACKAGE / name).is_dir() else "module"
    return (
        f'<rect class="{kind}" x="{x - wide / 2:.1f}" y="{y - _HEIGHT / 2:.1f}" width="{wide}" '
        f'height="{_HEIGHT}" rx="6"/><text x="{x:.1f}" y="{y + 5:.1f}" '
        f'text-anchor="middle">{name}</text>'
    )


def _short(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.")


if __name__ == "__main__":
    (ROOT / "docs/architecture.svg").write_text(picture(imports()), "utf-8")
