"""Project settings, read by Kedro."""

from srlm_kedro.conf_files import CheckedConfigLoader
from srlm_kedro.hooks.freshness import FreshnessHooks
from srlm_kedro.hooks.memory import MemoryHooks
from srlm_kedro.hooks.mlflow import MlflowHooks
from srlm_kedro.hooks.telling import TellingHooks
from srlm_kedro.hooks.thinning import ThinningHooks
from srlm_kedro.plugins import InPlaceOf, VizStatsHooks, put_off
from srlm_kedro.session import LoopSession
from srlm_kedro.telling import lines

lines.set_up()
put_off()

HOOKS = (
    TellingHooks(),
    FreshnessHooks(),
    MemoryHooks(),
    MlflowHooks(),  # in place of kedro-mlflow's
    ThinningHooks(),
    VizStatsHooks(),  # in place of kedro-viz's own
    InPlaceOf("pipeline-run-hook"),  # kedro-viz's: it follows whole pipelines alone, and says so
    InPlaceOf("kedro-telemetry"),
)
SESSION_CLASS = LoopSession
CONFIG_LOADER_CLASS = CheckedConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
