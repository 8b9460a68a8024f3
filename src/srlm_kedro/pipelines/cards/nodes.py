"""The parameters `cards`, and a card for each model and its pairs.

A model card states the lineage, data, metrics, limits, use and parameters of a model.
"""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.params import Params
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.pairs import PairsParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.records import Checkpoint


class CardParams(Params):
    """The parameters `cards`: the front matter of all cards, which a hub reads."""

    base_model: str | None = None
    """M0's name on a hub (`Qwen/Qwen2.5-0.5B`). None: it is left out."""
    license: str | None = None
    """The license, as a hub names it (`apache-2.0`). None: no license is claimed."""
    datasets: tuple[str, ...] = ()
    """The sources of the seed data, as a hub names them (`OpenAssistant/oasst1`)."""
    language: str = "en"
    """ISO 639-1 code of the language."""


Metrics = dict[str, float]

_METRICS = {
    "eval/mean_score": "mean score of sampled responses, 0 to 5, by the referee",
    "eval/greedy_score": "mean score of greedy responses",
    "eval/mean_score_unseen": "mean score on kinds of task unseen in training",
    "eval/constraints_missed": "share of the prompts' constraints that sampled responses miss",
    "eval/mean_length": "mean response length, tokens",
    "eval/pairwise_accuracy": "as a judge: human orderings met, %",
    "eval/five_best": "as a judge: share of its full scores that people ranked first, %",
    "eval/exact_match": "as a judge: whole order met, %",
    "eval/spearman": "as a judge: Spearman",
    "eval/kendall": "as a judge: Kendall's tau",
}
"""The metrics of a card in their order, and their descriptions."""


def write_seed_model_card(
    model: Checkpoint,
    eval_metrics: Metrics,
    train_metrics: Metrics,
    sft: SftParams,
    seed: int,
    cards: CardParams,
    eft_metrics: Metrics | None = None,
    head_to_head: pd.DataFrame | None = None,
) -> str:
    """The card of the SFT baseline or of M1. Only M1 has `eft_metrics` and `head_to_head`.

    The parameters `loop` are left out: controls with other parameters share these models.
    """
    facts = {"examples of training": train_metrics["train/examples"]}
    if eft_metrics is not None:
        facts |= _drops("judgements of ranked responses", "eft/judgements", eft_metrics, "eft/")
        facts["of them kept as EFT examples"] = eft_metrics["eft/kept"]
    learnt = "IFT, instruction fine-tuning examples"
    learnt += "" if eft_metrics is None else ", and EFT, examples of judging"
    return _card(
        model,
        lineage=[f"{model.name.upper()} is M0, fine-tuned (SFT) on {learnt}."],
        facts=facts,
        parameters=_recipes(seed=seed, sft=sft),
        metrics=eval_metrics,
        duels=head_to_head,
        cards=cards,
    )


def write_iteration_card(
    model: Checkpoint,
    eval_metrics: Metrics,
    head_to_head: pd.DataFrame,
    train_metrics: Metrics,
    prompt_metrics: Metrics,
    judge_metrics: Metrics,
    pair_metrics: Metrics,
    loop: LoopParams,
    prompts: PromptsParams,
    responses: ResponsesParams,
    judging: JudgingParams,
    pairs: PairsParams,
    dpo: DpoParams,
    sft: SftParams,
    seed: int,
    cards: CardParams,
) -> str:
    """The card of M_t, t at least 2."""
    accepted = prompt_metrics["prompts/accepted"]
    facts = {
        **_drops("prompts written", "prompts/written", prompt_metrics, "prompts/rejected_"),
        "of them accepted": accepted,
        "responses": accepted * responses.sampling.n,
        **_dropped(judge_metrics, "judge/dropped_", "responses dropped: "),
        **_drops("judgements", "judge/judgements", judge_metrics, "judge/unparsed_"),
        "pairs": pair_metrics["pairs/count"],
        **_dropped(pair_metrics, "pairs/dropped_", "prompts without a pair: "),
        "last logged loss": train_metrics["train/loss"],
    }
    trained = {"dpo": dpo} if loop.update == "dpo" else {"sft": sft}
    drawn = {"prompts": prompts, "responses": responses, "judging": judging, "pairs": pairs}
    recipe = _recipes(seed=seed, loop=loop, **drawn, **trained)
    return _card(
        model,
        lineage=_lineage(model.iteration, loop),
        facts=facts,
        parameters=recipe,
        metrics=eval_metrics | _chosen_longer(pair_metrics),
        duels=head_to_head,
        cards=cards,
    )


def write_pairs_card(
    model: Checkpoint, pairs: pd.DataFrame, pair_metrics: Metrics, cards: CardParams
) -> str:
    """The card of the pairs that M_t was trained on; it tells a loader which file is the table."""
    facts = {
        "pairs": len(pairs),
        "mean reward of chosen": pair_metrics["pairs/chosen_reward"],
        "mean reward of rejected": pair_metrics["pairs/rejected_reward"],
        **_chosen_longer(pair_metrics),
        **_dropped(pair_metrics, "pairs/dropped_", "prompts without a pair: "),
    }
    return _rendered(
        "pairs.md.jinja",
        t=model.iteration,
        columns=list(pairs.columns),
        facts={name: _number(value) for name, value in facts.items()},
        cards=cards,
    )


def _lineage(t: int, loop: LoopParams) -> list[str]:
    goes_back = loop.when_worse == "best"
    before = f"the best of M1 to M{t - 1}" if goes_back and t > 2 else f"M{t - 1}"
    judge = {"current": before, "m1": "M1", "external": "an external judge"}[loop.judge]
    writer = {"current": before, "m0": "M0", "fixed": "a fixed model"}[loop.prompt_generator]
    rewarded = {
        "judge": f"judged by {judge}",
        "checked": "rewarded by programs that check them",
        "both": f"rewarded by {judge} as judge and by programs that check them",
    }[loop.reward]
    made = f"New prompts were written by {writer}, answered by {before} and {rewarded}."
    if loop.update != "dpo":
        return [f"M{t} is M0, fine-tuned (SFT) on seed data and responses of full reward.", made]
    return [
        f"M{t} is {before}, trained by DPO on preference pairs; the reference is {before}, frozen.",
        made,
        f"M1 is M0, fine-tuned on {'IFT' if loop.eft == 'none' else 'IFT and EFT'} (seed data); "
        f"M2, M3, ... each come from the {'best' if goes_back else 'model'} before.",
    ]


def _chosen_longer(pair_metrics: Metrics) -> Metrics:
    return {
        "share of pairs whose chosen response is the longer": pair_metrics["pairs/chosen_longer"]
    }


def _drops(what: str, total: str, metrics: Metrics, prefix: str) -> Metrics:
    prefixes = ("eft/dropped_", "eft/unparsed_") if prefix == "eft/" else (prefix,)
    reasons: Metrics = {}
    for one in prefixes:
        reasons |= _dropped(metrics, one, "of them dropped: ")
    return {what: metrics[total], **{f"{what}, {name}": n for name, n in reasons.items()}}


def _dropped(metrics: Metrics, prefix: str, label: str) -> Metrics:
    """The counts above zero, by reason."""
    return {
        f"{label}{name.removeprefix(prefix).replace('_', ' ')}": count
        for name, count in metrics.items()
        if name.startswith(prefix) and count
    }


def _recipes(**groups: Any) -> dict[str, Any]:
    return {
        name: group.recipe() if isinstance(group, Params) else group
        for name, group in groups.items()
    }


def _card(
    model: Checkpoint,
    lineage: list[str],
    facts: Mapping[str, float],
    parameters: Mapping[str, Any],
    metrics: Metrics,
    duels: pd.DataFrame | None,
    cards: CardParams,
) -> str:
    """The card of one model: its metrics in the order of `_METRICS`, with their descriptions."""
    described = {_METRICS.get(name, name): metrics[name] for name in _order(metrics)}
    return _rendered(
        "card.md.jinja",
        name=model.name,
        lineage=lineage,
        facts={name: _number(value) for name, value in facts.items()},
        metrics={name: _number(value) for name, value in described.items()},
        duels=[] if duels is None else duels.to_dict("records"),
        parameters=_quoted(parameters, indent=1),
        tags=["self-rewarding", "srlm_kedro", "dpo" if "dpo" in parameters else "sft", "trl"],
        cards=cards,
        adapter=_keeps_adapter(parameters),
    )


def _keeps_adapter(parameters: Mapping[str, Any]) -> bool:
    """Whether the model's folder holds only an adapter."""
    lora = (parameters.get("dpo") or parameters.get("sft") or {}).get("lora")
    return bool(lora and lora["keep"] == "adapter")


def _rendered(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("srlm_kedro", "pipelines/cards"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # this is Markdown; free text goes through `_quoted`
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = _quoted
    return environment.get_template(template).render(values)


def _order(metrics: Metrics) -> list[str]:
    known = [name for name in _METRICS if name in metrics]
    return known + [name for name in metrics if not name.startswith("eval/")]


def _quoted(value: Any, indent: int | None = None) -> str:
    """JSON, which is also YAML, in ASCII and without a backtick that could end a block of code."""
    return json.dumps(value, indent=indent).replace("`", "\\u0060")


def _number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"
