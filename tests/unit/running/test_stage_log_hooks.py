"""Log lines of the stages."""

import re

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner, ThreadRunner

from srlm_kedro.datasets.engine import EngineDataset
from srlm_kedro.display import progress
from srlm_kedro.running.hooks import StageLogHooks

SECONDS = r": done in [\d.]+ s"


def check(table):
    return table


def judge(table, engine):
    return progress.node.get(), table


PIPELINE = Pipeline(
    [
        Node(check, "table", "checked", name="m2.check_pairs"),
        Node(judge, ["table", "engine"], ["judged", "counts"], name="m2.judge_own"),
    ]
)


@pytest.fixture
def run(caplog):
    def run(runner):
        manager = _create_hook_manager()
        manager.register(StageLogHooks())
        engine = EngineDataset("fractions.Fraction")
        catalog = DataCatalog({"table": MemoryDataset(1), "engine": engine})
        with caplog.at_level("INFO", "srlm_kedro"):
            manager.hook.before_pipeline_run(run_params={}, pipeline=PIPELINE, catalog=catalog)
            made = runner.run(PIPELINE, catalog, manager)
        ours = [one.getMessage() for one in caplog.records if one.name.startswith("srlm_kedro")]
        return made, sorted(ours, key=lambda line: re.sub(r"^\d", "", line))

    return run


@pytest.mark.parametrize("runner", [SequentialRunner(), ThreadRunner(max_workers=2)])
def test_a_stage_with_an_engine_is_told_at_both_ends_another_at_its_end(run, runner):
    """The lines have number, words and time; a stage ends when its last output is saved."""
    made, lines = run(runner)
    checked, begun, done = lines
    assert re.fullmatch(rf"[12] of 2, M2: checking the pairs{SECONDS}", checked)
    assert re.fullmatch(r"[12] of 2, M2: judging its own answers", begun)
    assert re.fullmatch(rf"{begun}{SECONDS}", done)
    assert made["judged"].load() == "m2.judge_own"


def test_beside_a_bar_the_end_of_long_stages_alone_is_told(run):
    """The bar shows the rest."""

    def listener(*_):
        pass

    progress.listen(listener)
    try:
        _, [line] = run(SequentialRunner())
    finally:
        progress.unlisten(listener)
    assert re.fullmatch(rf"2 of 2, M2: judging its own answers{SECONDS}|1 of 2, .*", line)
