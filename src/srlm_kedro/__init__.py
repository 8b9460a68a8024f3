"""Self-Rewarding Language Models as an experiment-tracked Kedro project."""

import os

__version__ = "0.2.0"

# No package sends telemetry unless the user asks for it.
for _switch, _value in {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GX_ANALYTICS_ENABLED": "false",
}.items():
    os.environ.setdefault(_switch, _value)

# A waiting thread spins for about ten microseconds and then sleeps. By default GNU's OpenMP spins
# for milliseconds, which a busy machine cannot spare. torch reads this when it is loaded
# (docs/decisions/0017-waiting.md).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# Linux then backs large tensors by large pages if it can; their first use is far cheaper.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
