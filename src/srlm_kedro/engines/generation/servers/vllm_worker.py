"""Holds a model in vLLM and samples for the process that started it. It needs only vLLM.

`python vllm_worker.py` reads one JSON object per line from standard input, and answers each with
one on standard output. The first holds vLLM's options. Each later one holds prompts, and how to
sample or tokens whose log-probabilities are asked for.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import IO, Any

# This folder holds a vllm.py that is not the package.
sys.path[:] = [path for path in sys.path if Path(path or ".") != Path(__file__).parent]


def main() -> None:
    """Answers until standard input ends."""
    answers = _answer_stream()
    engine = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if engine is None:
                engine = _load(request)
                answer = {"max_model_len": engine.llm_engine.model_config.max_model_len}
            elif "tokens" in request:
                answer = {"logprobs": _read(engine, request["prompts"], request["tokens"])}
            else:
                answer = {"drawn": _sample(engine, request["prompts"], request["sampling"])}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer_stream() -> IO[str]:
    """Standard output, only for answers; what vLLM prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _load(options: dict[str, Any]) -> Any:
    from vllm import LLM

    return LLM(**options)


def _sample(
    engine: Any, prompts: list[list[int]], sampling: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """For each prompt the sampled tokens, and whether the completion came to an end."""
    from vllm import SamplingParams

    outputs = engine.generate(
        [{"prompt_token_ids": ids} for ids in prompts],
        [SamplingParams(**each) for each in sampling],
        use_tqdm=False,
    )
    drawn = [output.outputs[0] for output in outputs]
    return [{"ids": list(one.token_ids), "stopped": one.finish_reason == "stop"} for one in drawn]


def _read(engine: Any, prompts: list[list[int]], tokens: list[int]) -> list[list[float]]:
    """For each prompt the log-probabilities of the tokens as the next one."""
    from vllm import SamplingParams

    # The temperature counts if vLLM is told to return what it draws from.
    params = SamplingParams(
        temperature=1.0, top_p=1.0, seed=0, max_tokens=1, logprob_token_ids=tokens
    )
    outputs = engine.generate(
        [{"prompt_token_ids": ids} for ids in prompts],
        [params] * len(prompts),
        use_tqdm=False,
    )
    first = [output.outputs[0].logprobs[0] for output in outputs]
    return [[found[token].logprob for token in tokens] for found in first]


if __name__ == "__main__":
    main()
