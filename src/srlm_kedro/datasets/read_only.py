"""The base of datasets that a run reads and never writes."""

from typing import ClassVar, TypeVar

from kedro.io import AbstractDataset, DatasetError

T = TypeVar("T")


class ReadOnlyDataset(AbstractDataset[None, T]):
    """A dataset whose `save` refuses; a subclass says in `ORIGIN` where its value comes from."""

    ORIGIN: ClassVar[str]
    """The reason of the refusal, such as `an engine comes from conf/`."""

    def save(self, data: None) -> None:
        """Refuses.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError(
            f"{self}: {self.ORIGIN}, so no node can save it. Give the node's output "
            "another entry in the catalog."
        )
