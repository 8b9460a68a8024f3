"""Engines in the catalog: a class by name and its options, so that `conf/` alone swaps them."""

import inspect
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro.utils import load_obj

from srlm_kedro.errors import InputError


class EngineDataset(AbstractDataset[None, Any]):
    """A generation or training engine, built when it is first loaded and kept for the run."""

    def __init__(
        self,
        engine: str,
        options: dict[str, Any] | None = None,
        resources: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Names the engine.

        Args:
            engine: The class, as `package.module.Class`.
            options: Constructor arguments that can change a result.
            resources: Constructor arguments that steer speed or memory alone (batch size).
            metadata: Free notes.
        """
        self._engine = engine
        self._options = options or {}
        self._resources = resources or {}
        self._built: Any = None
        self.metadata = metadata

    def load(self) -> Any:
        """The engine.

        Raises:
            DatasetError: The class has no argument of a given name.
        """
        if self._built is None:
            factory = load_obj(self._engine)
            arguments = {**self._options, **self._resources}
            self._refuse_unknown(factory, arguments)
            self._built = factory(**arguments)
        return self._built

    def save(self, data: None) -> None:
        raise DatasetError(f"{self._engine}: an engine comes from conf/ and cannot be saved.")

    def fingerprint(self) -> dict[str, Any]:
        """What of the engine can change a result."""
        return {"engine": self._engine, "options": self._options}

    def _refuse_unknown(self, factory: Any, arguments: dict[str, Any]) -> None:
        known = inspect.signature(factory).parameters
        if unknown := sorted(set(arguments) - set(known)):
            raise InputError(
                f"{self._engine}: no option {', '.join(unknown)}. "
                f"Known options: {', '.join(known)}. Change the engine's entry in the catalog."
            )

    def _describe(self) -> dict[str, Any]:
        return {"engine": self._engine, "options": self._options, "resources": self._resources}
