"""Models the engine tests share."""

import pytest

from srlm_kedro.records import Checkpoint
from tests.engines.models import write_model


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Checkpoint:
    """A Llama of two layers and 46 tokens."""
    return write_model(tmp_path_factory.mktemp("llama"))
