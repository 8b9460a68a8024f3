"""The report on a run: tables, figures, the page, and the summary."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.reporting.model_tables import (
    collect_duels,
    collect_iterations,
    collect_judges,
    collect_study,
    describe_iteration,
    describe_seed_model,
    describe_study,
    tabulate_errors,
)
from srlm_kedro.pipelines.reporting.plots import (
    plot_errors,
    plot_head_to_head,
    plot_rewards,
    plot_scores,
)
from srlm_kedro.pipelines.reporting.report import pick_answers, pick_judged, write_report
from srlm_kedro.pipelines.reporting.summary import summarise_run

_TABLES = ["head_to_head", "reward_modelling", "iterations"]


def create_seed_model_pipeline() -> Pipeline:
    """The SFT baseline or M1: `model`, `eval_metrics` -> `row`."""
    return Pipeline(
        [Node(describe_seed_model, ["model", "eval_metrics"], "row", name="describe")],
    )


def create_iteration_pipeline() -> Pipeline:
    """M_t, t at least 2: the tables of its iteration -> `row`, `samples`, `reward_plot`."""
    tables = ["prompts", "responses", "judge_metrics", "pair_metrics"]
    return Pipeline(
        [
            Node(describe_iteration, ["model", "eval_metrics", *tables], "row", name="describe"),
            Node(
                pick_judged,
                ["judged_responses", "judgements", "params:seed"],
                "samples",
                name="pick_judged",
            ),
            Node(plot_rewards, "judged_responses", "reward_plot", name="plot_rewards"),
        ]
    )


def create_study_pipeline(metrics: list[str]) -> Pipeline:
    """`model` and `metrics`, its metrics from the study -> `study_row`."""
    return Pipeline([Node(describe_study, ["model", *metrics], "study_row", name="describe_study")])


def create_pipeline(models: list[str], studied: bool, start: Sequence[str] = ()) -> Pipeline:
    """All models: their rows -> `head_to_head`, `iterations`, `report`, `summary`, ...

    Args:
        models: Their namespaces in order: `sft`, `m1`, `m2`, ...
        studied: Whether they have a `study_row`, for the table `study`.
        start: Models before them whose answers are shown too.
    """
    scores = _of(models, "eval_scores")
    answers = _of([*start, *models], "eval_scores")
    duels = _of(models[1:], "head_to_head")
    judges = _of(models, "reward_modelling")
    rows = _of(models, "row")
    samples = _of(models[2:], "samples")
    studies = _of(models, "study_row") if studied else []
    stages = Pipeline(
        [
            Node(collect_duels, duels, "head_to_head", name="head_to_head"),
            Node(collect_judges, judges, "reward_modelling", name="judges"),
            Node(collect_iterations, ["timings", *rows], "iterations", name="iterations"),
            Node(tabulate_errors, scores, "errors", name="errors"),
            Node(pick_answers, ["params:seed", *answers], "answers", name="answers"),
            Node(plot_head_to_head, "head_to_head", "head_to_head_plot", name="head_to_head_plot"),
            Node(plot_scores, "errors", "score_plot", name="score_plot"),
            Node(plot_errors, "errors", "error_plot", name="error_plot"),
            Node(
                write_report,
                [*_TABLES, "errors", "study" if studied else "no_study", "answers", *samples],
                "report",
                name="report",
            ),
            Node(summarise_run, [*_TABLES, "errors", "timings"], "summary", name="summary"),
        ]
    )
    if studied:
        stages += Pipeline([Node(collect_study, studies, "study", name="study")])
    of_models = [*answers, *duels, *judges, *rows, *samples, *studies]
    shared = ["timings", *([] if studied else ["no_study"])]
    return Pipeline(
        stages,
        namespace="report",
        # Kedro allows dotted names only for the inputs and outputs of a whole pipeline.
        inputs={name: name.replace("_", ".", 1) for name in of_models}
        | dict(zip(shared, shared, strict=True)),
        outputs=stages.all_outputs(),
        parameters={"params:seed"},
    )


def _of(models: list[str], table: str) -> list[str]:
    return [f"{model}_{table}" for model in models]
