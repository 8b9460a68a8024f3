"""A stand-in for vLLM where there is none: the names that the worker uses, and no more.

It draws with the parts of TransformersEngine, one prompt after the other, from the seed that each
SamplingParams holds. What it cannot show is vLLM's own speed, memory and numbers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from srlm_kedro.engines.generation.base import Sampling, text_before
from srlm_kedro.engines.generation.completions import StopStrings, decode
from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.generation.tiered.decoding import Group, complete
from srlm_kedro.engines.generation.tiered.plain_rows import PlainDecoder
from srlm_kedro.engines.generation.tiered.sampling import stream
from srlm_kedro.records import Checkpoint

print("vLLM says hello on standard output, as it does")


@dataclass(frozen=True)
class SamplingParams:
    """How one completion is drawn."""

    seed: int
    temperature: float
    top_p: float
    max_tokens: int
    min_tokens: int = 0
    stop: list[str] = field(default_factory=list)
    stop_token_ids: list[int] = field(default_factory=list)
    logprob_token_ids: list[int] | None = None


class LLM:
    """A model in memory."""

    def __init__(
        self,
        model: str,
        tokenizer: str,
        enable_prefix_caching: bool,
        generation_config: str,
        seed: int,
        dtype: str = "auto",
        max_model_len: int | None = None,
    ):
        self._loaded = load(Checkpoint(Path(model), Path(model).name), dtype, "cpu")
        longest = max_model_len or self._loaded.positions
        config = SimpleNamespace(max_model_len=longest)
        self.llm_engine = SimpleNamespace(model_config=config)

    def generate(
        self,
        prompts: list[dict[str, list[int]]],
        sampling_params: list[SamplingParams],
        use_tqdm: bool = True,
    ) -> list[Any]:
        """One output a prompt, each with one completion."""
        pairs = zip(prompts, sampling_params, strict=True)
        return [self._output(prompt["prompt_token_ids"], params) for prompt, params in pairs]

    def _output(self, prompt: list[int], params: SamplingParams) -> Any:
        tokenizer = self._loaded.tokenizer
        group = Group(0, prompt, range(1), [stream(params.seed, "", 0)])
        sampling = Sampling(
            temperature=params.temperature,
            top_p=params.top_p,
            max_new_tokens=params.max_tokens,
            min_new_tokens=params.min_tokens,
        )
        stops = StopStrings(tokenizer, params.stop)
        decoder = PlainDecoder(self._loaded.model)
        (row,) = complete(decoder, [group], 1, sampling, params.stop_token_ids, stops)
        ids = row.ids
        text = decode(tokenizer, ids)
        ended = ids[-1] in params.stop_token_ids or text_before(params.stop, text) != text
        one = SimpleNamespace(token_ids=ids, finish_reason="stop" if ended else "length")
        one.logprobs = self._logprobs(prompt, params.logprob_token_ids)
        return SimpleNamespace(outputs=[one])

    def _logprobs(self, prompt: list[int], tokens: list[int] | None) -> list[Any] | None:
        if tokens is None:
            return None
        with torch.inference_mode():
            logits = PlainDecoder(self._loaded.model).admit([prompt], [1])[0]
        shares = torch.log_softmax(logits.float(), -1)
        return [{token: SimpleNamespace(logprob=float(shares[token])) for token in tokens}]
