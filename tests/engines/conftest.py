"""Models the engine tests share."""

import pytest

from srlm_kedro.records import Checkpoint
from tests.engines.models import write_model


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Checkpoint:
    """A Llama of two layers and 46 tokens."""
    return write_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def trainer(tmp_path):
    """Trains on one CPU thread; everything that it writes is in `tmp_path`."""
    from srlm_kedro.engines.training.trl.engine import TrlEngine

    return TrlEngine(device="cpu", threads=1, work_dir=str(tmp_path))
