"""Whether all known texts fit into M0's context, before the first model is trained.

A text that a model writes later can still be too long. It is left out and counted where it is used
(`engines.generation.base.Request.optional`, `engines.training.base.TuningParams.max_length`).
"""

import logging
from collections.abc import Iterator
from functools import partial

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine, Request, Sampling
from srlm_kedro.engines.training.base import TrainingEngine
from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.criteria import CriteriaPrompt, JudgePrompt, filled
from srlm_kedro.pipelines.checks.counts import one_sided_split, too_few_demonstrations
from srlm_kedro.pipelines.checks.ruler import Check, Ruler
from srlm_kedro.pipelines.eft.params import EftParams, ranked_judgement
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.prompts.params import PromptsParams, fill_few_shot_prompt
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.pipelines.selection.nodes import SelectionParams
from srlm_kedro.records import Checkpoint, Example

_SAMPLE = 200
"""Number of IFT examples that represent the texts which are still to be written."""
_HALF = 0.5
"""Share of the prompts that may leave no room for a response."""
_RANKED = ranked_judgement(place=10, last=10, score=1)
"""No judgement that is made of a rank is longer."""
_ROWS = (
    "shorten or drop these rows (of OASST: lower `oasst.max_prompt_characters` or "
    "`oasst.max_response_characters`)"
)

_log = logging.getLogger(__name__)


def check_lengths(
    base: Checkpoint,
    ift: pd.DataFrame,
    eft_ranked: pd.DataFrame,
    eval_prompts: pd.DataFrame,
    judge_prompt: JudgePrompt,
    few_shot_prompt: str,
    generation_engine: GenerationEngine,
    training_engine: TrainingEngine,
    loop: LoopParams,
    sft: SftParams,
    dpo: DpoParams,
    eft: EftParams,
    prompts: PromptsParams,
    responses: ResponsesParams,
    judging: JudgingParams,
    evaluation: EvaluationParams,
    selection: SelectionParams,
) -> dict[str, bool]:
    """Accepts the texts for the first training. All later models have M0's tokenizer and limits.

    IFT's texts represent the texts that are still to be written, which will resemble them.

    Raises:
        InputError: There are too few rows for the parameters, or texts do not fit. The message has
            all of these by kind, with their tokens and the limit.
    """
    few = too_few_demonstrations(ift, prompts) if loop.iterations > 1 else []
    if eval_prompts.empty:
        few.append("there are no evaluation prompts (of OASST: `oasst.eval_count`)")
    if few := few + one_sided_split(eft_ranked["prompt"], eft):
        raise InputError(summary("Seed data: too few rows.", few))
    if isinstance(judge_prompt, CriteriaPrompt):
        # M0 must know the answers apart; the engine refuses them otherwise.
        asked = [Request("answers", judge_prompt.template)]
        generation_engine.choice_logprobs(base, asked, judge_prompt.answers.choices)
    ruler = Ruler(base, training_engine, generation_engine)
    seed = _Seed(ift, eft_ranked, judge_prompt)
    checks = [
        *_trained_on(ruler, seed, loop, sft, dpo, eft),
        *_read(ruler, seed, eval_prompts, loop, eft, evaluation, selection),
        *_written(ruler, seed, few_shot_prompt, loop, prompts, responses, judging),
    ]
    if faults := [check.message for check in checks if check.is_broken]:
        heading = f"{base.name}: texts that do not fit the model were found before any training."
        raise InputError("\n".join([heading, *faults]))
    return {"checked": True}


class _Seed:
    """The texts that people wrote, as the stages will use them."""

    def __init__(
        self, ift: pd.DataFrame, eft_ranked: pd.DataFrame, judge_prompt: JudgePrompt
    ) -> None:
        fill = partial(_longest_question, judge_prompt)
        self.criteria = judge_prompt if isinstance(judge_prompt, CriteriaPrompt) else None
        self.ift, self.eft = ift, eft_ranked
        self.ift_names = [f"ift {name}" for name in ift["prompt_id"]]
        self.judged_names = [f"eft {name}" for name in eft_ranked["response_id"]]
        self.judged = list(map(fill, eft_ranked["prompt"], eft_ranked["response"]))
        self.sample = ift.iloc[:: max(1, len(ift) // _SAMPLE)]
        self.sample_names = [f"ift {name}" for name in self.sample["prompt_id"]]
        self.sample_judged = list(map(fill, self.sample["prompt"], self.sample["response"]))


def _longest_question(judge_prompt: JudgePrompt, instruction: str, response: str) -> str:
    """The longest text that the judge is asked about a response; empty if it is asked nothing."""
    return max(filled(judge_prompt, instruction, response), key=len, default="")


def _trained_on(
    ruler: Ruler, seed: _Seed, loop: LoopParams, sft: SftParams, dpo: DpoParams, eft: EftParams
) -> Iterator[Check]:
    """Checks what is trained on: examples of IFT and EFT, and pairs like IFT's examples."""
    examples = list(map(Example, seed.ift["prompt"], seed.ift["response"]))
    raised = f"Raise `sft.max_length` (now {sft.max_length}), or {_ROWS}"
    yield Check(
        f"IFT examples are too long to be trained on. {raised}.",
        seed.ift_names,
        ruler.training_faults(examples, sft),
    )
    if loop.eft != "none":
        yield Check(
            "ranked responses in the judge prompt leave no room to train on a judgement of them. "
            f"{raised}.",
            seed.judged_names,
            _unlearnable(ruler, seed, loop, sft, eft),
        )
    if loop.update == "dpo":
        likely = list(map(Example, seed.sample["prompt"], seed.sample["response"]))
        yield Check(
            "IFT examples are longer than pairs may be, and the pairs will be like them. Raise "
            f"`dpo.max_length` (now {dpo.max_length}), or allow more with `dpo.max_too_long` (now "
            f"{dpo.max_too_long:g}).",
            seed.sample_names,
            ruler.training_faults(likely, dpo),
            dpo.max_too_long,
        )


def _unlearnable(
    ruler: Ruler, seed: _Seed, loop: LoopParams, sft: SftParams, eft: EftParams
) -> list[str]:
    """Why no judgement of a response can be trained on; responses in doubt are only logged."""
    if seed.criteria:
        answer = max(map(seed.criteria.answers.word, (True, False)), key=len)
        answered = [Example(text, answer, complete=False) for text in seed.judged]
        return ruler.training_faults(answered, sft)
    if loop.eft == "ranking":
        return ruler.training_faults([Example(text, _RANKED) for text in seed.judged], sft)
    new = eft.sampling.max_new_tokens
    tight = sft.model_copy(update={"max_length": max(sft.max_length - new, 1)})
    found = ruler.training_faults([Example(text, "") for text in seed.judged], tight)
    doubtful = [place for place, fault in enumerate(found) if fault]
    if doubtful:
        _log.warning(
            "%d of %d ranked responses leave less than %d tokens for a judgement (sft.max_length = "
            "%d): the examples that become too long are left out of M1's training, and counted.",
            *(len(doubtful), len(found), new, sft.max_length),
        )
    faults = [""] * len(found)
    certain = ruler.training_faults([Example(seed.judged[place], "") for place in doubtful], sft)
    for place, fault in zip(doubtful, certain, strict=True):
        faults[place] = fault
    return faults


def _read(
    ruler: Ruler,
    seed: _Seed,
    eval_prompts: pd.DataFrame,
    loop: LoopParams,
    eft: EftParams,
    evaluation: EvaluationParams,
    selection: SelectionParams,
) -> Iterator[Check]:
    """Checks what the models read: ranked responses, and prompts of evaluation and validation."""
    judgings = {"evaluation.judging": evaluation.judging}
    judgings |= {"eft.sampling": eft.sampling} if loop.eft == "baseline" else {}
    name = max(judgings, key=lambda one: judgings[one].max_new_tokens)
    room, lower = _room(seed, name, judgings[name])
    yield Check(
        "ranked responses in the judge prompt leave no room for a judgement. To give it room, "
        f"{lower}{_ROWS}.",
        seed.judged_names,
        ruler.prompt_faults(seed.judged, room),
    )
    yield Check(
        "evaluation prompts leave no room for an answer. "
        f"{_less('evaluation.sampling')} (now {evaluation.sampling.max_new_tokens}), or {_ROWS}.",
        [f"eval_prompts {one}" for one in eval_prompts["id"]],
        ruler.prompt_faults(eval_prompts["prompt"], evaluation.sampling),
    )
    if loop.when_worse != "off" and loop.iterations > 1:
        ranked = seed.eft.drop_duplicates("prompt")
        yield Check(
            "prompts of EFT, which are validation prompts too, leave no room for an answer. "
            f"{_less('selection.sampling')} (now {selection.sampling.max_new_tokens}), or {_ROWS}.",
            [f"eft {one}" for one in ranked["prompt_id"]],
            ruler.prompt_faults(ranked["prompt"], selection.sampling),
        )


def _written(
    ruler: Ruler,
    seed: _Seed,
    few_shot_prompt: str,
    loop: LoopParams,
    prompts: PromptsParams,
    responses: ResponsesParams,
    judging: JudgingParams,
) -> Iterator[Check]:
    """Checks what an iteration will write: new prompts, responses, and judgements of them."""
    if loop.iterations < 2:
        return
    if loop.prompt_generator != "fixed":
        number = prompts.ift_demonstrations + prompts.model_demonstrations
        shortest = sorted(seed.ift["prompt"], key=len)[:number]
        yield Check(
            "few-shot prompts leave no room for a new task, even with IFT's shortest prompts. "
            f"{_less('prompts.sampling')} (now {prompts.sampling.max_new_tokens}), or use fewer "
            "demonstrations (`prompts.ift_demonstrations`, `prompts.model_demonstrations`).",
            ["few-shot prompt"],
            ruler.prompt_faults(
                [fill_few_shot_prompt(few_shot_prompt, shortest)], prompts.sampling, prompts.chat
            ),
        )
    yield Check(
        "IFT prompts leave no room for a response, and the new prompts will be like them. "
        f"{_less('responses.sampling')} (now {responses.sampling.max_new_tokens}).",
        seed.sample_names,
        ruler.prompt_faults(seed.sample["prompt"], responses.sampling),
        _HALF,
    )
    if loop.judge != "external":
        room, lower = _room(seed, "judging.sampling", judging.sampling)
        yield Check(
            "IFT examples in the judge prompt leave no room for a judgement, and responses will be "
            f"like them. To give it room, {lower}give IFT shorter responses; or allow more "
            f"judgements without a score (`judging.max_unparsed`, now {judging.max_unparsed:g}).",
            seed.sample_names,
            ruler.prompt_faults(seed.sample_judged, room),
            judging.max_unparsed,
        )


def _less(sampling: str) -> str:
    return f"Lower `{sampling}.max_new_tokens`"


def _room(seed: _Seed, name: str, sampling: Sampling) -> tuple[Sampling, str]:
    """The longest judgement, and what would make it shorter; by criteria it is one token."""
    if seed.criteria:
        return Sampling(max_new_tokens=1), ""
    return sampling, f"lower `{name}.max_new_tokens` (now {sampling.max_new_tokens}), or "
