"""Self-Rewarding Language Models as an experiment-tracked Kedro project."""

import os
import warnings

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

# What packages of the stack warn each other about, and no user can act on.
for _words in ("register_new_resolver", ".*type hints? (to the `predict`|is inferred as AnyType)"):
    warnings.filterwarnings("ignore", message=_words, category=UserWarning)
