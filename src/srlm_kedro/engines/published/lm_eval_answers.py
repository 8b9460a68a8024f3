"""lm-eval's class around a model, whose answers our sampler draws."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import postprocess_generated_text

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines import chat, thoughts
from srlm_kedro.engines.generation.base import text_before
from srlm_kedro.engines.generation.completions import decode
from srlm_kedro.engines.generation.loading import Loaded
from srlm_kedro.engines.generation.packed_weights import pack
from srlm_kedro.engines.generation.tiered.decoding import Row
from srlm_kedro.engines.generation.tiered.drawing import Drawing
from srlm_kedro.engines.generation.tiered.sampling import stream
from srlm_kedro.engines.generation.tiered.strategies import Found, find_strategy
from srlm_kedro.engines.published.lm_eval_requests import Wanted, wanted
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """The seed of our sampler, and what it may take."""

    seed: int = 0
    max_rows: int = 256
    """Most answers that are drawn at once."""
    memory_gib: float | None = None
    """Memory for keys, values and intermediate results; None: see `planning.memory_budget`."""


class DrawingLM(HFLM):
    """Draws the answers of tasks by our sampler, from the token ids that lm-eval would feed.

    Log-likelihoods stay lm-eval's. A greedy answer is that of lm-eval's own class with one request
    in a batch, except that it also ends where the chat template ends a turn. (With more requests in
    a batch, lm-eval's class goes on after a special token that is a stop string.)
    """

    def __init__(
        self, checkpoint: Checkpoint, loaded: Loaded, batch_size: int | str, limits: Limits
    ):
        """Shares the loaded model.

        Args:
            checkpoint: Names the model in messages.
            loaded: The model and its tokenizer.
            batch_size: Items per batch of lm-eval's own class.
            limits: For our sampler.
        """
        super().__init__(loaded.model, tokenizer=loaded.tokenizer, batch_size=batch_size)
        self._name, self._loaded, self._limits = checkpoint.name, loaded, limits
        self._found: Found | None = None
        self._tiers = ""

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request, cut at the task's stop strings.

        Raises:
            InputError: The longest answer of a task leaves no room for a prompt.
        """
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(requests):
            groups[repr(one.args[1])].append(place)
        answers = [""] * len(requests)
        for places in groups.values():
            asked = [requests[place] for place in places]
            for place, text in zip(places, self._answers(asked, disable_tqdm), strict=True):
                answers[place] = text
        return answers

    def _answers(self, asked: list[Instance], disable_tqdm: bool) -> list[str]:
        """The answers to requests with the same generation arguments."""
        end = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        config = self.model.generation_config
        configured = config.to_diff_dict() if config else {}
        want = wanted(asked[0].args[1], configured, end, self.max_gen_toks)
        self._refuse_without_room(asked[0], want)
        if reason := self._reason_against(want):
            _log.info("%s: lm-eval draws %d answers itself: %s.", self._name, len(asked), reason)
            return super().generate_until(asked, disable_tqdm=disable_tqdm)
        return self._draw([one.args[0] for one in asked], want)

    def _refuse_without_room(self, request: Instance, want: Wanted) -> None:
        if want.sampling.max_new_tokens >= self.max_length:
            raise InputError(
                f"{self._name}: the task {request.task_name} asks for answers of "
                f"{want.sampling.max_new_tokens} tokens, and the model sees {self.max_length} with "
                "the prompt. Leave the task out, or lower its `max_gen_toks`."
            )

    def _reason_against(self, want: Wanted) -> str:
        """Why our sampler cannot draw the answers; empty if it can."""
        if want.beyond:
            return f"our sampler does not have {', '.join(want.beyond)}"
        found = self._strategy()
        return "" if found.strategy else found.last_reason

    def _strategy(self) -> Found:
        """How the model is sampled from; the model keeps its own attention."""
        if self._found is None:
            own = self.model.config._attn_implementation
            pack(self.model)
            self._found = find_strategy(self.model)
            self._tiers = self.model.config._attn_implementation
            self._attend_by(own)
        return self._found

    def _draw(self, contexts: Sequence[str], want: Wanted) -> list[str]:
        """One answer for each context. Equal contexts have samples of different numbers."""
        counts = Counter(contexts)
        keys = [
            [stream(self._limits.seed, text, sample) for sample in range(count)]
            for text, count in counts.items()
        ]
        answers = {text: [""] * count for text, count in counts.items()}
        texts = list(counts)
        progress = Progress(self._name, len(contexts), "answers")

        def on_step(at_work: Sequence[Row]) -> None:
            progress.at_work([len(row.ids) for row in at_work], want.sampling.max_new_tokens)

        with self._drawing(texts, want) as drawing, progress:
            for row in drawing.rows(keys, on_step):
                text = self.tok_decode(row.ids)
                cut = postprocess_generated_text(text, list(want.stop), None)
                answers[texts[row.request]][row.sample] = cut
                progress.add(1, len(row.ids))
        following = {text: iter(row) for text, row in answers.items()}
        return [next(following[context]) for context in contexts]

    @contextmanager
    def _drawing(self, texts: Sequence[str], want: Wanted) -> Iterator[Drawing]:
        """Inside, the model attends as our sampler needs it."""
        own = self.model.config._attn_implementation
        self._attend_by(self._tiers)
        try:
            yield Drawing(
                replace(self._loaded, ends=self._ends(want.stop)),
                self._strategy().strategy,  # type: ignore[arg-type]
                self._prompts(texts, want.sampling.max_new_tokens),
                want.sampling,
                opened=(),
                max_rows=self._limits.max_rows,
                memory_gib=self._limits.memory_gib,
            )
        finally:
            self._attend_by(own)

    def _attend_by(self, name: str) -> None:
        if self.model.config._attn_implementation != name:
            self.model.set_attn_implementation(name)

    def _prompts(self, texts: Sequence[str], new: int) -> list[list[int]]:
        """Token ids as lm-eval feeds them: the end of a prompt that leaves no room for an answer.

        An empty prompt becomes the token that stands before an empty prompt's log-likelihood.
        """
        room = self.max_length - new
        rows = [self.tok_batch_encode([text])[0][0].tolist() for text in texts]
        if long := sum(len(ids) > room for ids in rows):
            _log.info(
                "%s: %d of %d prompts leave no room for an answer of %d tokens. They lose their "
                "beginnings.",
                *(self._name, long, len(rows), new),
            )
        return [ids[-room:] or [self.prefix_token_id] for ids in rows]

    def _ends(self, stop: Sequence[str]) -> tuple[int, ...]:
        """What ends an answer: the model's end tokens, and special tokens that the task names."""
        named = {
            number
            for number, token in self.tokenizer.added_tokens_decoder.items()
            if token.special and token.content in stop
        }
        return tuple(sorted({*self._loaded.ends, *named}))


class AnsweringLM(DrawingLM):
    """Gives tasks the answers without the thoughts, and scores choices where an answer begins.

    A task's stop strings apply only to the answer, so in a chat the model can finish its thought.
    """

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request, cut at the task's stop strings."""
        chats = self._chats(requests)
        asked = [
            replace(one, arguments=(one.args[0], {**one.args[1], "until": []})) if is_chat else one
            for one, is_chat in zip(requests, chats, strict=True)
        ]
        drawn = super().generate_until(asked, disable_tqdm=disable_tqdm)
        opened = chat.opened_thought(self.tokenizer)
        return [
            self._answer(f"{opened}{text}" if is_chat else text, one.args[1].get("until"))
            for one, text, is_chat in zip(requests, drawn, chats, strict=True)
        ]

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """The log-likelihood of each continuation as an answer, and whether it is the likeliest."""
        opening = chat.answer_opening(self.tokenizer)
        asked = [
            replace(one, arguments=(f"{one.args[0]}{opening}", *one.args[1:])) if is_chat else one
            for one, is_chat in zip(requests, self._chats(requests), strict=True)
        ]
        return super().loglikelihood(asked, disable_tqdm=disable_tqdm)

    def tok_decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
        """The text of the tokens. The marks around thoughts stay, unlike other special tokens."""
        if skip_special_tokens and isinstance(tokens, Sequence):
            return decode(self.tokenizer, tokens)
        return super().tok_decode(tokens, skip_special_tokens)

    def _chats(self, requests: Sequence[Instance]) -> list[bool]:
        """Whether each context ends where a completion begins in the chat template."""
        start = chat.completion_start(self.tokenizer)
        return [one.args[0].endswith(start) for one in requests]

    def _answer(self, text: str, until: str | Sequence[str] | None) -> str:
        """The answer in a text. It may have been cut, so a thought without an end has no answer."""
        stop = [until] if isinstance(until, str) else until or ()
        return text_before([one for one in stop if one], thoughts.split(text, cut=True)[1])
