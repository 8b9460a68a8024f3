"""The order of `--env=a+b`: where b gives a setting of a another value, b must build on a.

The base comes first: `smollm+checked`. In the other order the base would take back what the control
changes, and the run would be another experiment in the control's folder.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from srlm_kedro.display.safe_text import one_line

_KINDS = {"parameters": "parameter", "globals": "globals:", "catalog": "the catalog's entry"}
"""What is compared, by the beginnings of the names of files or of their folders."""
_LONGEST = 80
"""How many characters of a value a message quotes."""


class Environment(NamedTuple):
    """One of the joined environments."""

    name: str
    settings: Mapping[str, Mapping[str, Any]]
    """What its files hold, for each kind."""

    @property
    def is_control(self) -> bool:
        """Whether it changes a few settings of another: its files go below that one's data."""
        return bool(self.settings["globals"].get("own"))

    @property
    def is_base(self) -> bool:
        """Whether it stands for itself: all of its data have a folder of their own."""
        return "data" in self.settings["globals"] and not self.is_control

    def is_built_on_by(self, later: "Environment") -> bool:
        """Whether a later one may change its settings."""
        return self.is_base or not (self.is_control or later.is_base)


def order_faults(joined: list[Environment]) -> list[str]:
    """Where a later environment takes back what an earlier one changes, one line for each two.

    Only settings of the first environment may change. It must be no control, and a base changes
    only those of another base.

    Args:
        joined: The environments as `--env` names them.
    """
    clashes = list(_clashes(joined))
    better = sorted(joined, key=lambda one: (one.is_control, not one.is_base))
    if any(_clashes(better)):
        advice = (
            "No order keeps what each of them changes; write an environment of your own that has "
            "the settings you want"
        )
    else:
        order = "+".join(one.name for one in better)
        advice = f"The later one counts where two differ, so put the base first: --env={order}"
    return [f"{clash}. {advice}" for clash in clashes]


def read_environment(folder: Path, files: list[Path]) -> Environment:
    """What the sound files in the folder of an environment hold."""
    settings: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    for path in files:
        parts = path.relative_to(folder).parts
        for kind in _KINDS:
            if any(part.startswith(kind) for part in parts):
                settings[kind] |= yaml.safe_load(path.read_text("utf-8")) or {}
    return Environment(folder.name, settings)


def _clashes(joined: list[Environment]) -> Iterator[str]:
    for place, later in enumerate(joined):
        for earlier in joined[:place]:
            if earlier is joined[0] and earlier.is_built_on_by(later):
                continue
            if differing := list(_differing(earlier, later)):
                more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
                yield (
                    f"--env: {later.name} takes back what {earlier.name} changes: "
                    f"{differing[0]}{more}"
                )


def _differing(earlier: Environment, later: Environment) -> Iterator[str]:
    """What both set to different values: its name, and both values."""
    for kind, word in _KINDS.items():
        one, other = earlier.settings[kind], later.settings[kind]
        if kind == "catalog":
            for name in one.keys() & other.keys():
                if one[name] != other[name]:
                    yield f"{word} `{name}` is in both, and not the same"
            continue
        for name, before, after in _changed(one, other):
            yield (
                f"{word} `{name}` is {_told(before)} in {earlier.name} and {_told(after)} in "
                f"{later.name}"
            )


def _changed(
    one: Mapping[str, Any], other: Mapping[str, Any], inside: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Values in both mappings at any depth that differ, by their dotted names."""
    for key in (key for key in one if key in other):
        before, after = one[key], other[key]
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changed(before, after, f"{inside}{key}.")
        elif before != after:
            yield f"{inside}{key}", before, after


def _told(value: Any) -> str:
    return f"`{one_line(str(value), _LONGEST)}`"
