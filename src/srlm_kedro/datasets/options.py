"""Checks options of an engine against the types of its arguments before it is built."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from srlm_kedro.errors import InputError
from srlm_kedro.params import refuse_booleans

_FINITE = ConfigDict(allow_inf_nan=False)


def checked_types(factory: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that take numbers or one of several words, with their types and bounds."""
    function = factory.__init__ if inspect.isclass(factory) else factory
    hints = get_type_hints(function, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return" and _is_checked(hint)}


def check_options(
    engine: str, factory: Callable[..., Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options with numbers as the engine takes them: YAML reads `1e9` as a text, for example.

    Args:
        engine: Its name, for the message.
        factory: The class or function that makes it.
        options: Arguments by name; only numbers and choices of words are checked.

    Raises:
        InputError: Options are out of bounds or no numbers; the message names all of them.
    """
    found, faults = dict(options), []
    for name, hint in checked_types(factory).items():
        if name not in options:
            continue
        try:
            refuse_booleans(options[name], hint)
            found[name] = TypeAdapter(hint, config=_FINITE).validate_python(options[name])
        except ValidationError as error:
            rule = error.errors(include_url=False)[0]["msg"]
            faults.append(f"`{name}`: {rule}, found {options[name]!r}")
        except ValueError as error:
            faults.append(f"`{name}`: {error}")
    faults += [f"`{name}`: a number is not finite" for name in _not_finite(found)]
    if faults:
        raise InputError(
            f"{engine}: {'; '.join(faults)}. Correct the engine's entry in the catalog."
        )
    return found


def _is_checked(hint: Any) -> bool:
    """Whether a type has numbers, or words to choose from, among its parts."""
    if hint in (int, float) or get_origin(hint) is Literal:
        return True
    return any(_is_checked(part) for part in get_args(hint) if not isinstance(hint, str))


def _not_finite(options: Mapping[str, Any]) -> Iterator[str]:
    """The options that hold NaN or infinity at any depth (`extra_body`, `serve_options`)."""
    return (name for name, value in options.items() if _holds_not_finite(value))


def _holds_not_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_not_finite, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_not_finite, value))
    return isinstance(value, float) and not math.isfinite(value)
