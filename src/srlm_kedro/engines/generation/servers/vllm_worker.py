"""Holds a model in vLLM and samples for the process that started it. It needs only vLLM.

`python vllm_worker.py` reads one JSON object per line from standard input, and answers each with
one on standard output. The first holds vLLM's options. Each later one holds prompts and how to
sample.
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


if __name__ == "__main__":
    main()
