"""Old models' weights leave the disk while a run goes on; see `srlm_kedro.freshness.thinning`."""

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness.thinning import Thinning


class ThinningHooks:
    """Asks after each dataset that is saved whether a model's weights may go."""

    def __init__(self) -> None:
        self._thinning: Thinning | None = None

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Notes who needs which model, where the user sets how many to keep."""
        self._thinning = Thinning.asked_for(pipeline, catalog)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Lets go what the node was the last to need."""
        if self._thinning:
            self._thinning.saved(dataset_name, node)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Once more, before MLflow is told: nodes that ran in other processes are done by now."""
        if self._thinning:
            self._thinning.finish()
        self._thinning = None
