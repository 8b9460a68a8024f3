"""Stages in plain words."""

import re

_WORDS = {
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
    "check_seed": "checking the seed data",
    "check_seed_contamination": "looking for evaluation prompts in the seed data",
    "check_training": "asking whether training kept its limits",
    "choose_best": "choosing the best model so far",
    "choose_own": "choosing answers of its own to judge",
    "collect_leaderboard": "collecting the leaderboard",
    "compare_with_elders": "having the referee compare models",
    "compare_with_m1": "comparing with M1",
    "compare_with_previous": "comparing with the model before",
    "describe": "describing the model",
    "describe_prompts": "describing the prompts",
    "describe_study": "describing what the stages did",
    "document_checks": "writing down the checks",
    "document_seed_checks": "writing down the checks of the seed data",
    "draw_alpaca_outputs": "answering AlpacaEval",
    "draw_eval_responses": "answering held-out prompts",
    "draw_responses": "drawing candidate responses",
    "draw_validation_responses": "answering validation prompts",
    "error_plot": "plotting errors",
    "errors": "tabulating errors",
    "expect_draws": "reckoning up what is drawn",
    "expect_training": "reckoning up what is trained",
    "gate": "asking whether the limits are kept",
    "gate_contamination": "asking whether enough evaluation prompts are unseen",
    "gate_seed": "asking whether the seed data keeps the limits",
    "gate_seed_contamination": "asking whether enough evaluation prompts are unseen",
    "guard_alignment": "asking whether the benchmarks are kept",
    "head_to_head": "collecting duels",
    "head_to_head_plot": "plotting duels",
    "iterations": "collecting the iterations",
    "judge_again": "judging candidates again, by the model before",
    "judge_answers": "having MT-Bench answers judged",
    "judge_candidates": "judging candidate responses",
    "judge_eft_eval": "judging the held-out part of EFT",
    "judge_own": "judging its own answers",
    "judge_ranked": "judging ranked responses of EFT",
    "judge_shuffled": "judging under shuffled prompts",
    "judge_validation_responses": "judging answers to validation prompts",
    "judges": "collecting how well models judge",
    "make_corpus": "writing the corpus for M0",
    "make_pairs": "making preference pairs",
    "make_seed_data": "writing the seed data",
    "measure_alpaca_outputs": "measuring AlpacaEval answers",
    "measure_consistency": "measuring how far two judges agree",
    "measure_judge": "measuring the judge",
    "measure_model": "measuring the model",
    "measure_movement": "measuring how far training moved it",
    "measure_mt_bench": "measuring MT-Bench answers",
    "measure_own": "measuring how it judges itself",
    "measure_reward_modelling": "measuring it as a judge",
    "measure_rubric": "measuring the rubric",
    "measure_texts": "measuring texts",
    "pick_judged": "picking judged responses to show",
    "plot_rewards": "plotting rewards",
    "prepare_eft": "reading EFT",
    "prepare_ift": "reading IFT",
    "rank_as_judged": "taking people's ranks for judgements",
    "train_on_positives": "learning from the best responses (SFT)",
    "reckon": "reckoning up costs",
    "report": "writing the report",
    "reward_own": "rewarding its own answers",
    "reward_responses": "rewarding candidate responses",
    "reward_validation_responses": "rewarding answers to validation prompts",
    "run_benchmarks": "running benchmarks",
    "score_plot": "plotting scores",
    "select_eft": "selecting judgements for EFT",
    "select_oasst": "selecting seed data from OASST",
    "settle_comparisons": "settling the comparisons",
    "size_model": "sizing the model",
    "split_eft": "splitting EFT",
    "study": "collecting what the stages did",
    "summarise_estimate": "summing up the estimate",
    "summarise_study": "summing up what the stages did",
    "summary": "summing up",
    "take_m0": "taking M0 as it is given",
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


def stage(node: str) -> str:
    """What a node does, with the model that it is about: `M2: judging candidate responses`.

    A node without words of its own is called by its name.
    """
    owner, _, name = node.rpartition(".")
    words = _WORDS.get(name, name.replace("_", " "))
    if not _MODEL.fullmatch(owner):
        return words
    return f"{'SFT baseline' if owner == _BASELINE else owner.upper()}: {words}"


def has_words(node: str) -> bool:
    """Whether a node is told in words, and not by its name."""
    return node.rpartition(".")[2] in _WORDS
