"""`vllm serve`, as the engine uses it.

It draws with the parts of TransformersEngine, one prompt after the other, from the seed of each
call. What it cannot show is vLLM's own speed, memory and numbers.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from srlm_kedro.engines.generation.base import Sampling, text_before
from srlm_kedro.engines.generation.completions import StopStrings, decode
from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.generation.tiered.decoding import Group, complete
from srlm_kedro.engines.generation.tiered.plain_rows import PlainDecoder
from srlm_kedro.engines.generation.tiered.sampling import stream
from srlm_kedro.records import Checkpoint
from tests.engines.vllm_http import Complete, serve


def loaded(options: argparse.Namespace) -> Complete:
    folder = Path(options.folder)
    model = load(Checkpoint(folder, folder.name), options.dtype, "cpu")
    options.max_model_len = options.max_model_len or model.positions

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if "logprob_token_ids" in body:
            return _logprobs(model, body)
        return _drawn(model, body)

    return answer


def _drawn(model: Any, body: dict[str, Any]) -> dict[str, Any]:
    group = Group(0, body["prompt"], range(1), [stream(body["seed"], "", 0)])
    sampling = Sampling(
        temperature=body["temperature"],
        top_p=body["top_p"],
        max_new_tokens=body["max_tokens"],
        min_new_tokens=body["min_tokens"],
    )
    ends, stop = body["stop_token_ids"], tuple(body["stop"])
    stops = StopStrings(model.tokenizer, stop)
    decoder = PlainDecoder(model.model)
    (row,) = complete(decoder, [group], 1, sampling, ends, stops)
    text = decode(model.tokenizer, row.ids)
    ended = row.ids[-1] in ends or text_before(stop, text) != text
    return {"token_ids": row.ids, "finish_reason": "stop" if ended else "length"}


def _logprobs(model: Any, body: dict[str, Any]) -> dict[str, Any]:
    assert body["return_tokens_as_token_ids"]
    with torch.inference_mode():
        logits = PlainDecoder(model.model).admit([body["prompt"]], [1])[0]
    shares = torch.log_softmax(logits.float(), -1)
    named = {f"token_id:{token}": float(shares[token]) for token in body["logprob_token_ids"]}
    return {"finish_reason": "length", "logprobs": {"top_logprobs": [named]}}


if __name__ == "__main__":
    serve(loaded)
