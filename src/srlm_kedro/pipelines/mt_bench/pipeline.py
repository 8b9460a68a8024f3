"""MT-Bench of one model."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.mt_bench.nodes import answer_questions, judge_answers
from srlm_kedro.pipelines.mt_bench.scores import measure_mt_bench


def create_pipeline() -> Pipeline:
    """`model`, `mt_bench_questions`, `mt_bench_judge`, `mt_bench_prompt` -> `mt_bench_metrics`.

    On the way: `mt_bench_answers`, `mt_bench_judgements`.
    """
    return Pipeline(
        [
            Node(
                answer_questions,
                [
                    "model",
                    "mt_bench_questions",
                    "generation_engine",
                    "params:mt_bench",
                    "params:seed",
                ],
                "mt_bench_answers",
                name="answer_questions",
            ),
            Node(
                judge_answers,
                ["mt_bench_questions", "mt_bench_answers", "mt_bench_judge", "mt_bench_prompt"],
                "mt_bench_judgements",
                name="judge_answers",
            ),
            Node(
                measure_mt_bench,
                ["mt_bench_judgements", "params:mt_bench"],
                "mt_bench_metrics",
                name="measure_mt_bench",
            ),
        ]
    )
