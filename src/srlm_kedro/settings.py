"""Project settings, read by Kedro."""

from srlm_kedro.hooks.freshness import FreshnessHooks
from srlm_kedro.hooks.memory import MemoryHooks
from srlm_kedro.hooks.thinning import ThinningHooks
from srlm_kedro.hooks.tracking import ParentRunHooks, TrackingHooks
from srlm_kedro.session import LoopSession

HOOKS = (FreshnessHooks(), MemoryHooks(), ParentRunHooks(), TrackingHooks(), ThinningHooks())
SESSION_CLASS = LoopSession
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro_mlflow")  # ParentRunHooks stands in
