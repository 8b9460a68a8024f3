"""What a model card says that only its author knows."""

from srlm_kedro.params import Params


class CardParams(Params):
    """Front matter of every card; a hub reads it."""

    base_model: str | None = None
    """What M0 is, as a hub names it (`Qwen/Qwen2.5-0.5B`); None leaves it out."""
    license: str | None = None
    """A hub's license name (`apache-2.0`). None: no license is claimed; the choice is yours."""
    datasets: tuple[str, ...] = ()
    """Where the seed data come from, as a hub names them (`OpenAssistant/oasst1`)."""
    language: str = "en"
    """ISO 639-1 code."""
