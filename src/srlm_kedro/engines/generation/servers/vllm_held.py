"""A model that vLLM holds in a child process: what it samples, and what it says of tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.base import Completion, Sampling
from srlm_kedro.engines.generation.choices import log_of_sum
from srlm_kedro.engines.generation.completions import read_completion
from srlm_kedro.engines.generation.servers.child_process import ChildProcess
from srlm_kedro.errors import GateError


@dataclass(frozen=True)
class Task:
    """One completion to sample."""

    prompt: list[int]
    opened: str
    """The thought in which it begins."""
    chat: bool
    seed: int


@dataclass(frozen=True)
class Held:
    """A model in a child process, and its tokenizer in this one."""

    key: tuple[Any, ...]
    child: ChildProcess
    tokenizer: Any
    ends: tuple[int, ...]
    """Every token that ends a completion."""
    positions: int
    """Longest sequence, in tokens."""

    def sample(
        self, tasks: Sequence[Task], sampling: Sampling, timeout: float | None
    ) -> list[Completion]:
        """One completion per task.

        vLLM would find stop strings in thoughts too. So a chat gets none if the model's template
        knows thoughts: it is sampled to its end, and its answer is cut here.
        """
        thinks = thoughts.has_marks(str(self.tokenizer.chat_template))
        common = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "min_tokens": sampling.min_new_tokens,
            "stop_token_ids": list(self.ends),
        }
        rows = [
            {**common, "seed": one.seed, "stop": [] if thinks and one.chat else [*sampling.stop]}
            for one in tasks
        ]
        answer = self._ask({"prompts": [one.prompt for one in tasks], "sampling": rows}, timeout)
        return [
            read_completion(self.tokenizer, row["ids"], row["stopped"], sampling.stop, one.opened)
            for row, one in zip(answer["drawn"], tasks, strict=True)
        ]

    def read(
        self,
        prompts: Sequence[list[int]],
        tokens: Sequence[Sequence[int]],
        timeout: float | None,
    ) -> list[list[float]]:
        """The log-probability of each choice, which is a group of tokens, after each prompt."""
        every = [token for group in tokens for token in group]
        answer = self._ask({"prompts": prompts, "tokens": every}, timeout)
        found = [dict(zip(every, row, strict=True)) for row in answer["logprobs"]]
        return [[log_of_sum([row[each] for each in group]) for group in tokens] for row in found]

    def _ask(self, question: Mapping[str, Any], timeout: float | None) -> dict[str, Any]:
        answer = self.child.ask(question, timeout)
        if "error" in answer:
            lines = self.child.last_lines()
            self.child.end()
            raise GateError(f"vLLM failed: {answer['error']}. Its last lines:\n{lines}")
        return answer
