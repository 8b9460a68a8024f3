"""The study: what each stage of an iteration did (ours; the paper shows no such figures)."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.study.movement import measure_movement
from srlm_kedro.pipelines.study.rubric import judge_shuffled, measure_rubric
from srlm_kedro.pipelines.study.self_judging import choose_own, judge_own, measure_own, reward_own
from srlm_kedro.pipelines.study.truth import assess_candidates, measure_judge, summarise_study
from srlm_kedro.pipelines.study.writing import describe_prompts

_TRUTH = ["judge_accuracy", "tied_groups", "pair_truth"]


def create_iteration_pipeline() -> Pipeline:
    """An iteration: its tables, `model`, `policy`, `ift`, `referee` -> `study_metrics`, ...

    On the way: `candidate_scores`, `judge_accuracy`, `tied_groups`, `pair_truth`, `prompt_facts`,
    `movement`.
    """
    return Pipeline(
        [
            Node(
                assess_candidates,
                ["judged_responses", "referee", "params:study", "params:seed"],
                "candidate_scores",
                name="assess_candidates",
            ),
            Node(
                measure_judge,
                ["policy", "candidate_scores", "pairs"],
                _TRUTH,
                name="measure_judge",
            ),
            Node(
                describe_prompts,
                ["prompts", "ift", "referee"],
                "prompt_facts",
                name="describe_prompts",
            ),
            Node(
                measure_movement,
                ["model", "policy", "eval_responses", "pairs", "training_engine"],
                "movement",
                name="measure_movement",
            ),
            Node(
                summarise_study,
                [*_TRUTH, "prompt_facts", "prompts", "ift", "movement"],
                "study_metrics",
                name="summarise_study",
            ),
        ]
    )


def create_self_judging_pipeline() -> Pipeline:
    """A model as judge of its own answers: `model`, `eval_scores`, ... -> `own_metrics`, ...

    On the way: `own_responses`, `own_judgements`, `own_rewards`, `own_accuracy`.
    """
    drawing = ["generation_engine", "params:evaluation", "params:seed"]
    return Pipeline(
        [
            Node(
                choose_own,
                ["eval_scores", "params:study", "params:seed"],
                "own_responses",
                name="choose_own",
            ),
            Node(
                judge_own,
                ["model", "own_responses", "judge_prompt", *drawing],
                "own_judgements",
                name="judge_own",
            ),
            Node(
                reward_own,
                ["own_responses", "own_judgements"],
                "own_rewards",
                name="reward_own",
            ),
            Node(
                measure_own,
                ["model", "own_rewards"],
                ["own_accuracy", "own_metrics"],
                name="measure_own",
            ),
        ]
    )


def create_rubric_pipeline() -> Pipeline:
    """Whether M1 reads the judge prompt: `model`, `eft_eval`, ... -> `rubric_metrics`.

    On the way: `shuffled_judgements`.
    """
    drawing = ["generation_engine", "params:evaluation", "params:rubric", "params:seed"]
    return Pipeline(
        [
            Node(
                judge_shuffled,
                ["model", "eft_eval", "judge_prompt", *drawing],
                "shuffled_judgements",
                name="judge_shuffled",
            ),
            Node(
                measure_rubric,
                ["eft_eval", "shuffled_judgements", "reward_modelling"],
                "rubric_metrics",
                name="measure_rubric",
            ),
        ]
    )
