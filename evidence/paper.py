"""What the paper reports (2401.10020, section 3.2 and its tables); nothing else is typed in."""

DUELS: dict[tuple[str, str], tuple[float, float, float]] = {
    ("m1", "sft"): (30.5, 38.7, 30.9),
    ("m2", "m1"): (55.5, 32.8, 11.7),
    ("m2", "sft"): (49.2, 36.3, 14.5),
    ("m3", "m2"): (47.7, 39.8, 12.5),
    ("m3", "sft"): (62.5, 27.7, 9.8),
}
"""Win, tie, loss in % of a model against an opponent."""

REWARD_MODELLING: dict[str, dict[str, float]] = {
    "pairwise_accuracy": {"sft": 65.1, "m1": 78.7, "m2": 80.4, "m3": 81.7},
    "five_best": {"sft": 39.6, "m1": 41.5, "m2": 44.3, "m3": 43.2},
    "exact_match": {"sft": 10.1, "m1": 13.1, "m2": 14.3, "m3": 14.3},
    "spearman": {"sft": 0.253, "m1": 0.279, "m2": 0.331, "m3": 0.349},
    "kendall": {"sft": 0.233, "m1": 0.253, "m2": 0.315, "m3": 0.324},
}
"""Each model as a judge of what people ranked."""

CHARACTERS = {"m1": 1092, "m2": 1552, "m3": 2552}
"""Mean length of its responses to AlpacaEval."""

ABLATIONS: dict[tuple[str, str, str], str] = {
    ("no_eft", "m2", "pairs"): "541 (with EFT 3,964)",
    ("no_eft", "m3", "pairs"): "429 (with EFT 6,942)",
    ("positives_only", "m2", "win vs sft"): "29",
    ("positives_only", "m2", "loss vs sft"): "30",
    ("multiple_choice", "sft", "pairwise_accuracy"): "26.6 (additive 65.1)",
    ("m0_prompts", "m2", "win_minus_loss vs m1"): "+43.8 (fixed generator)",
    ("m0_prompts", "m3", "win_minus_loss vs m2"): "+35.2 (fixed generator)",
    ("m0_prompts", "m3", "win_minus_loss vs sft"): "+52.7 (fixed generator)",
}
"""By experiment, model and figure."""


def win_minus_loss(model: str, opponent: str) -> float | None:
    """In points; None where the paper does not compare the two."""
    duel = DUELS.get((model, opponent))
    return duel and duel[0] - duel[2]
