"""Self-Rewarding Language Models as an experiment-tracked Kedro project."""

import os

__version__ = "0.1.0"

# Nobody is called unless the user says so.
for _switch, _value in {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GX_ANALYTICS_ENABLED": "false",
}.items():
    os.environ.setdefault(_switch, _value)

# Where Linux may, it backs large tensors by large pages, whose first touch is far cheaper.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
