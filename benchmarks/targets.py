"""What the benchmarks are to show: bounds that were named before anything was built."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A bound on one figure."""

    bound: float
    at_least: bool = True
    """False: the figure may be the bound at most."""

    def met(self, figure: float) -> bool:
        """Whether the figure is on the right side."""
        return figure >= self.bound if self.at_least else figure <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


# Names of contestants.
OURS = "ours"
OURS_BF16 = "ours, bfloat16"
ONE_BY_ONE = "HF generate, one by one"
BEST_BATCH = "HF generate, best batch"
BEST_BATCH_BF16 = "HF generate, best batch, bfloat16"
LLAMA_CPP = "llama.cpp, best batch"
VLLM = "vLLM on the processor"
LUCIDRAINS = "self-rewarding-lm-pytorch"
ROOFLINE = "roofline with sharing"
ROOFLINE_BF16 = "roofline with sharing, bfloat16"
TRL = "TRL's defaults, float32"
TRL_KEPT = "TRL, float32, activations kept"
TRL_BF16 = "TRL's defaults, bfloat16"

JUDGING = {
    (OURS, ONE_BY_ONE): Target(12),
    (OURS_BF16, ONE_BY_ONE): Target(18),
    (OURS, BEST_BATCH): Target(6),
    (OURS_BF16, BEST_BATCH): Target(9),
    (OURS, LUCIDRAINS): Target(70),
    (OURS, ROOFLINE): Target(0.55),
}
"""How many times as fast as each of the others; of the roofline it is the share."""

SAMPLING = {
    (OURS, ONE_BY_ONE): Target(18),
    (OURS_BF16, ONE_BY_ONE): Target(28),
    (OURS, BEST_BATCH): Target(3.2),
    (OURS_BF16, BEST_BATCH): Target(5),
    (OURS, LUCIDRAINS): Target(6),
    (OURS, ROOFLINE): Target(0.5),
}

JUDGING_23M = {(OURS, ONE_BY_ONE): Target(8), (OURS_BF16, ONE_BY_ONE): Target(14)}

SMOLLM = {
    (OURS, BEST_BATCH): Target(4),
    (OURS, LLAMA_CPP): Target(1.3),
    (OURS, ROOFLINE): Target(0.6),
}
"""Of SmolLM2-135M: sampling, judging, and reading answers to criteria."""

SMOLLM_TRAINING = {(OURS, TRL): Target(2)}

SFT = {(OURS, TRL): Target(2)}
DPO = {(OURS, TRL): Target(2.2)}
