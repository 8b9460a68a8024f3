"""What each node does, in the words that bars and log lines show."""

import re

_NAMES = {
    "accept_prompts": "filtering the written prompts",
    "annotate_alpaca_outputs": "having AlpacaEval answers annotated",
    "answer_questions": "answering MT-Bench",
    "answers": "picking answers to show",
    "assess_candidates": "having the referee score candidates",
    "assess_responses": "having the referee score held-out responses",
    "benchmark_metrics": "reading off benchmark figures",
    "check_contamination": "looking for evaluation prompts in the training data",
    "check_judged": "checking the judgements",
    "check_lengths": "measuring whether all texts fit",
    "check_pairs": "checking the pairs",
    "check_candidates": "checking candidate responses by a program",
    "check_seed": "checking the seed data",
    "check_seed_responses": "checking seed responses by a program",
    "check_seed_contamination": "looking for evaluation prompts in the seed data",
    "check_training": "checking the limits of training",
    "choose_best": "choosing the best model so far",
    "choose_own": "choosing its own answers to judge",
    "collect_leaderboard": "collecting the leaderboard",
    "compare_with_elders": "having the referee compare models",
    "compare_with_m1": "comparing with M1",
    "compare_with_previous": "comparing with the previous model",
    "describe": "describing the model",
    "describe_prompts": "describing the prompts",
    "describe_study": "describing what the stages did",
    "document_checks": "documenting the checks",
    "document_seed_checks": "documenting the checks of the seed data",
    "draw_alpaca_outputs": "answering AlpacaEval",
    "draw_eval_responses": "answering held-out prompts",
    "draw_responses": "drawing candidate responses",
    "draw_seed_responses": "answering seed prompts",
    "draw_validation_responses": "answering validation prompts",
    "error_plot": "plotting errors",
    "errors": "tabulating errors",
    "expect_draws": "estimating what is drawn",
    "expect_training": "estimating what is trained",
    "gate": "checking the limits",
    "gate_contamination": "checking that enough evaluation prompts are unseen",
    "gate_seed": "checking the limits of the seed data",
    "gate_seed_contamination": "checking that enough evaluation prompts are unseen",
    "guard_alignment": "checking the limits of the benchmarks",
    "head_to_head": "collecting comparisons",
    "head_to_head_plot": "plotting comparisons",
    "iterations": "collecting the iterations",
    "judge_again": "judging candidates again, with the previous model",
    "judge_and_check": "judging candidate responses, and checking them by a program",
    "judge_answers": "having MT-Bench answers judged",
    "judge_candidates": "judging candidate responses",
    "judge_eft_eval": "judging the held-out part of EFT",
    "judge_own": "judging its own answers",
    "judge_ranked": "judging ranked responses of EFT",
    "judge_shuffled": "judging under shuffled prompts",
    "judge_validation_responses": "judging answers to validation prompts",
    "judges": "collecting how well models judge",
    "make_corpus": "writing the corpus for M0",
    "make_instructions": "writing instructions",
    "make_pairs": "making preference pairs",
    "make_seed_data": "writing the seed data",
    "measure_alpaca_outputs": "measuring AlpacaEval answers",
    "measure_constraints": "measuring which constraints it meets",
    "measure_consistency": "measuring how much two judges agree",
    "measure_fluency": "measuring how probable M0 finds its answers",
    "measure_gains": "measuring what it gained",
    "measure_judge": "measuring the judge",
    "measure_model": "measuring the model",
    "measure_movement": "measuring how far training moved the model",
    "measure_mt_bench": "measuring MT-Bench answers",
    "measure_own": "measuring how the model judges itself",
    "measure_reward_modelling": "measuring the model as a judge",
    "measure_rubric": "measuring the rubric",
    "measure_texts": "measuring texts",
    "pick_judged": "picking judged responses to show",
    "plot_rewards": "plotting rewards",
    "prepare_eft": "reading EFT",
    "prepare_ift": "reading IFT",
    "rank_as_judged": "taking people's ranks as judgements",
    "train_on_positives": "learning from the best responses (SFT)",
    "reckon": "adding up costs",
    "report": "writing the report",
    "reward_own": "rewarding its own answers",
    "reward_responses": "rewarding candidate responses",
    "reward_validation_responses": "rewarding answers to validation prompts",
    "run_benchmarks": "running benchmarks",
    "score_plot": "plotting scores",
    "select_eft": "selecting judgements for EFT",
    "select_labelled": "balancing labelled criteria for EFT",
    "select_oasst": "selecting seed data from OASST",
    "settle_comparisons": "deciding the comparisons",
    "size_model": "measuring the model's size",
    "split_eft": "splitting EFT",
    "study": "collecting what the stages did",
    "summarise_estimate": "summarising the estimate",
    "summarise_study": "summarising what the stages did",
    "summary": "summarising",
    "take_m0": "taking the given M0",
    "train_dpo": "learning from pairs (DPO)",
    "train_m0": "pre-training (M0)",
    "train_m1": "learning from IFT and EFT (SFT)",
    "train_sft": "learning from IFT (SFT)",
    "write_card": "writing its card",
    "write_pairs_card": "writing its pairs' card",
    "write_prompts": "writing new prompts",
}
_MODEL = re.compile(r"m[1-9]\d*|sft")
_BASELINE = "sft"


def stage_name(node: str) -> str:
    """What a node does, and for which model: `M2: judging candidate responses`.

    A node that is not in the table is called by its own name.
    """
    model, _, name = node.rpartition(".")
    words = _NAMES.get(name, name.replace("_", " "))
    if not _MODEL.fullmatch(model):
        return words
    return f"{'SFT baseline' if model == _BASELINE else model.upper()}: {words}"


def has_name(node: str) -> bool:
    """Whether the table holds the node."""
    return node.rpartition(".")[2] in _NAMES
