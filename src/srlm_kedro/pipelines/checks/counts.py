"""Whether there are as many seed rows as the knobs ask for, before the first model is trained."""

import pandas as pd

from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.pairs import PairsParams
from srlm_kedro.pipelines.prompts.params import PromptsParams


def too_few_demonstrations(ift: pd.DataFrame, prompts: PromptsParams) -> list[str]:
    """What is wrong where IFT has fewer prompts than a few-shot prompt of the first iteration."""
    wanted = prompts.ift_demonstrations + prompts.model_demonstrations
    if len(ift) >= wanted:
        return []
    return [
        f"IFT has {len(ift)} prompts, and {wanted} demonstrations are shown to who writes new ones "
        f"(`prompts.ift_demonstrations` = {prompts.ift_demonstrations}, and in the first iteration "
        f"`prompts.model_demonstrations` = {prompts.model_demonstrations} too). Give more rows, or "
        "lower them"
    ]


def one_sided_split(ranked_prompts: pd.Series, eft: EftParams) -> list[str]:
    """What is wrong where all ranked prompts, or none, are held back to measure judges."""
    prompts = ranked_prompts.str.split().str.join(" ").str.lower().nunique()
    held = eft.held(prompts)
    if 0 < held < prompts:
        return []
    left = "none is left to learn from" if held else "no judge could be measured"
    knob = "eval_fraction" if eft.eval_prompts is None else "eval_prompts"
    return [
        f"EFT has {prompts} prompts, and {held} are held back to measure judges (`eft.{knob}` = "
        f"{getattr(eft, knob)}): {left}. Give more rows, or change it"
    ]


def too_few_prompts(prompts: PromptsParams, pairs: PairsParams) -> list[str]:
    """What is wrong where no iteration could make as many pairs as it must."""
    if pairs.min_pairs <= min(prompts.count):
        return []
    return [
        f"parameter `pairs.min_pairs`: {pairs.min_pairs} pairs are wanted of `prompts.count` = "
        f"{min(prompts.count)} prompts, which give one pair each at most"
    ]
