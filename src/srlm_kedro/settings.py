"""The project's settings, which Kedro reads."""

from srlm_kedro.display import log_lines
from srlm_kedro.freshness.hooks import FreshnessHooks
from srlm_kedro.freshness.thinning import ThinningHooks
from srlm_kedro.running.conf_files import CheckedConfigLoader
from srlm_kedro.running.hooks import MemoryHooks, StageLogHooks
from srlm_kedro.running.plugins import DisabledHooks, VizStatsHooks, load_commands_late
from srlm_kedro.running.session import LoopSession
from srlm_kedro.tracking.hooks import MlflowHooks

log_lines.set_up()
load_commands_late()

HOOKS = (
    StageLogHooks(),
    FreshnessHooks(),
    MemoryHooks(),
    MlflowHooks(),  # replaces kedro-mlflow's hooks
    ThinningHooks(),
    VizStatsHooks(),  # replaces kedro-viz's hooks that count rows
    DisabledHooks("pipeline-run-hook"),  # kedro-viz's; it warns if some nodes are skipped
    DisabledHooks("kedro-telemetry"),
)
SESSION_CLASS = LoopSession
CONFIG_LOADER_CLASS = CheckedConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
