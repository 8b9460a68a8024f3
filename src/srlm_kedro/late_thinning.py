"""`keep_models` where no node runs: a finished run is thinned out too."""

from itertools import count, takewhile

from kedro.framework.context import KedroContext
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pluggy import PluginManager

from srlm_kedro.freshness import output_path
from srlm_kedro.manifest import current_digest, is_thinned, read_manifest
from srlm_kedro.tracking.address import configuration, is_tracked


def thin_out(context: KedroContext, names: list[str] | None, hooks: PluginManager) -> list[str]:
    """Deletes the weights that `keep_models` lets go of, in MLflow's registry too.

    While nodes run, `hooks.thinning` does so after each of them.

    Args:
        context: Of the run.
        names: The pipelines that are asked for, which may be recorded nowhere.
        hooks: The hooks of its session, of which those that thin are called.

    Returns:
        The models that lost their weights, as `m2.model`.
    """
    catalog = context.catalog
    kept = _with_weights(catalog)
    tracked = is_tracked(configuration(context.config_loader), names)
    if tracked and _are_too_many(kept, context):
        _ = context.mlflow.server  # one that is not there is told before a file is deleted
    others = [one for one in hooks.get_plugins() if type(one).__name__ != "ThinningHooks"]
    events = {"run_params": {}, "pipeline": Pipeline([]), "catalog": catalog}
    hooks.subset_hook_caller("before_pipeline_run", others)(**events)
    hooks.subset_hook_caller("after_pipeline_run", others)(run_result={}, **events)
    gone = [name for name in kept if name not in _with_weights(catalog)]
    if gone and tracked:
        from srlm_kedro.tracking.registry import drop_weights, registered_model  # and MLflow

        settings, name = context.mlflow, registered_model(context.env)
        place = settings.tracking.experiment._experiment.artifact_location
        for model in gone:
            digest = current_digest(output_path(catalog, model))
            client = settings.server._mlflow_client
            drop_weights(client, name, model.removesuffix(".model"), digest, place)
    return gone


def _are_too_many(kept: list[str], context: KedroContext) -> bool:
    """Whether weights may have to go."""
    most = context.config_loader["parameters"].get("keep_models", "all")
    return most != "all" and len(kept) > most


def _with_weights(catalog: CatalogProtocol) -> list[str]:
    """M1, M2, ... that were made and have their weights."""
    paths = takewhile(
        lambda path: path is not None and read_manifest(path),
        (output_path(catalog, f"m{t}.model") for t in count(1)),
    )
    return [f"m{t}.model" for t, path in enumerate(paths, start=1) if not is_thinned(path)]
