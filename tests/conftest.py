"""Before anything imports Kedro: it sets up logging for the whole process.

Properties are shown 100 examples each, and with
`pytest tests/properties --hypothesis-profile=long` 10,000.
"""

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ["KEDRO_LOGGING_CONFIG"] = str(Path(__file__).with_name("logging.yml"))

_PATIENT = {
    "deadline": None,  # another process may take the machine at any moment
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("short", max_examples=100, **_PATIENT)
settings.register_profile("long", max_examples=10_000, **_PATIENT)
settings.load_profile("short")


def pytest_configure(config: pytest.Config) -> None:
    """Where bytecode may not lie beside its source, it lies in pytest's cache.

    Many tests start processes, and without it each would compile all that it imports anew, which
    takes longer than what most of them do.
    """
    if sys.dont_write_bytecode and (cache := getattr(config, "cache", None)):
        sys.pycache_prefix = str(cache.mkdir("bytecode"))
        sys.dont_write_bytecode = False
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> None:
    """No garbage collection searches what imports made: engines collect after each piece of work.

    What the modules before left over is collected once more, and so is not kept for ever.
    """
    gc.collect()
    gc.freeze()
