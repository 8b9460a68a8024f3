"""Before anything imports Kedro: it sets up logging for the whole process.

Properties are shown 100 examples each, and with
`pytest tests/properties --hypothesis-profile=long` 10,000.
"""

import os
from pathlib import Path

from hypothesis import HealthCheck, settings

os.environ["KEDRO_LOGGING_CONFIG"] = str(Path(__file__).with_name("logging.yml"))

_PATIENT = {
    "deadline": None,  # another process may take the machine at any moment
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("short", max_examples=100, **_PATIENT)
settings.register_profile("long", max_examples=10_000, **_PATIENT)
settings.load_profile("short")
