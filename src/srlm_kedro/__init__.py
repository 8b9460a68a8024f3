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

# A thread that waits for another one spins for some ten microseconds, then sleeps. GNU's OpenMP
# spins for milliseconds unless told, which a busy machine cannot spare. It is read when torch is
# loaded (docs/decisions/0017-waiting.md).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# Where Linux may, it backs large tensors by large pages, whose first touch is far cheaper.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
