"""Before anything imports Kedro: it sets up logging for the whole process."""

import os
from pathlib import Path

os.environ["KEDRO_LOGGING_CONFIG"] = str(Path(__file__).with_name("logging.yml"))
