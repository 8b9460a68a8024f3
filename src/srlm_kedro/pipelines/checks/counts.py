"""Whether there are enough seed rows for the parameters, before the first model is trained."""

import pandas as pd

from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.pairs import PairsParams
from srlm_kedro.pipelines.prompts.params import PromptsParams


def too_few_demonstrations(ift: pd.DataFrame, prompts: PromptsParams) -> list[str]:
    """The fault if IFT has fewer prompts than a few-shot prompt of the first iteration needs."""
    wanted = prompts.ift_demonstrations + prompts.model_demonstrations
    if len(ift) >= wanted:
        return []
    return [
        f"IFT has {len(ift)} prompts, and a few-shot prompt needs {wanted} demonstrations "
        f"(`prompts.ift_demonstrations` = {prompts.ift_demonstrations}, and in the first iteration "
        f"also `prompts.model_demonstrations` = {prompts.model_demonstrations}). Give more rows, "
        "or lower these parameters"
    ]


def one_sided_split(ranked_prompts: pd.Series, eft: EftParams) -> list[str]:
    """The fault if all ranked prompts, or none of them, are held back to measure judges."""
    prompts = ranked_prompts.str.split().str.join(" ").str.lower().nunique()
    held = eft.held(prompts)
    if 0 < held < prompts:
        return []
    left = "none is left to learn from" if held else "no judge could be measured"
    name = "eval_fraction" if eft.eval_prompts is None else "eval_prompts"
    return [
        f"EFT has {prompts} prompts, and {held} are held back to measure judges (`eft.{name}` = "
        f"{getattr(eft, name)}): {left}. Give more rows, or change this parameter"
    ]


def too_few_prompts(prompts: PromptsParams, pairs: PairsParams) -> list[str]:
    """The fault if an iteration cannot make `min_pairs` pairs."""
    if pairs.min_pairs <= min(prompts.count):
        return []
    return [
        f"parameter `pairs.min_pairs`: {pairs.min_pairs} pairs are required of `prompts.count` = "
        f"{min(prompts.count)} prompts, which give at most one pair each"
    ]
