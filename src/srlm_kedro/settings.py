"""Project settings, read by Kedro."""

from srlm_kedro.display import log_lines
from srlm_kedro.freshness.hooks import FreshnessHooks
from srlm_kedro.freshness.thinning_hooks import ThinningHooks
from srlm_kedro.running.conf_files import CheckedConfigLoader
from srlm_kedro.running.engine_memory import MemoryHooks
from srlm_kedro.running.hooks import TellingHooks
from srlm_kedro.running.plugins import InPlaceOf, VizStatsHooks, put_off
from srlm_kedro.running.session import LoopSession
from srlm_kedro.tracking.hooks import MlflowHooks

log_lines.set_up()
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
