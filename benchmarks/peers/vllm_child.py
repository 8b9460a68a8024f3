"""What runs in vLLM's environment: `python vllm_child.py MODEL DTYPE LENGTH`.

It loads the model, and answers each JSON line on its input with one on its output.
"""

import json
import sys
from typing import Any


def main() -> None:
    """Serves until the input ends."""
    import vllm

    model, dtype, length = sys.argv[1:]
    llm = vllm.LLM(
        model=model,
        dtype=dtype,
        max_model_len=int(length),
        enable_prefix_caching=True,
        skip_tokenizer_init=True,
        seed=1,
    )
    _say({"version": vllm.__version__})
    for line in sys.stdin:
        asked = json.loads(line)
        # What the call before left in the cache would be a gift.
        llm.reset_prefix_cache()
        params = vllm.SamplingParams(
            n=asked["n"],
            temperature=asked["temperature"],
            top_p=asked.get("top_p", 1.0),
            max_tokens=asked["tokens"],
            logprobs=asked.get("logprobs"),
            ignore_eos=True,
            detokenize=False,
        )
        prompts: Any = [{"prompt_token_ids": row} for row in asked["prompts"]]
        found = llm.generate(prompts, params, use_tqdm=False)
        _say({"drawn": sum(len(one.token_ids) for each in found for one in each.outputs)})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
