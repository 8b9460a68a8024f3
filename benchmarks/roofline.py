"""The fastest that this machine could do a piece of work, were nothing in the way.

Two rates are measured on the spot, before a contest and after it: matrix products (operations a
second, the best over a big square and the model's own shapes) and reading memory (bytes a second).
With them a phase of the work takes at least

    max(operations / product rate, bytes / read rate) seconds

and the phases follow one another. What can be shared is computed once:

    prefix   its tokens once for the whole work
    suffix   each prompt's own tokens once for all its samples
    step t   one token a sample, t = 2 .. new_tokens; the first is drawn behind the suffix

    operations = 2 * layer weights * tokens                          linear layers
               + 4 * layers * width * (tokens visible to each token)  attention
               + 2 * head weights * (positions at which one draws)    output layer
    bytes      = (layer weights + head weights, where one draws) * size, once a phase or step
               + 2 * layers * key width * size * (positions whose keys and values are read)

A step reads the prefix's keys and values once, a suffix's once for all its samples, and a sample's
own. Softmax, norms, the draw itself and Python cost nothing here, and all samples are one batch.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.models import Shape
from benchmarks.rounds import Setting, seconds
from benchmarks.work import Work, agreeing

_SIZE = {"float32": 4, "bfloat16": 2}
"""Bytes a number."""


@dataclass(frozen=True)
class Rates:
    """What the machine can do in one number format."""

    dtype: str
    operations: float
    """Of matrix products, a second; a product and a sum count as two."""
    reads: float
    """Bytes a second."""


def floor(work: Work, rates: Rates) -> float:
    """Seconds below which the work cannot be done."""
    own = [len(ids) - work.prefix for ids in work.ids()]
    samples = work.samples * len(own)
    phase = _Phases(work.shape, rates)
    total = phase.seconds(work.prefix, _triangle(work.prefix), work.prefix, drawn=0)
    seen = sum(work.prefix * count + _triangle(count) for count in own)
    total += phase.seconds(sum(own), seen, work.prefix + sum(own), drawn=len(own))
    for tail in range(1, work.new_tokens):
        seen = work.samples * sum(work.prefix + count + tail for count in own)
        read = work.prefix + sum(own) + samples * tail
        total += phase.seconds(samples, seen, read, drawn=samples)
    return total


def floor_of_reading(work: Work, rates: Rates) -> float:
    """Seconds below which the token after each prompt cannot be known.

    What two prompts begin with counts once.
    """
    tokens = seen = 0
    before: list[int] = []
    for ids in sorted(work.ids()):
        known = agreeing(before, ids)
        tokens += len(ids) - known
        seen += _triangle(len(ids)) - _triangle(known)
        before = ids
    return _Phases(work.shape, rates).seconds(tokens, seen, tokens, drawn=len(work.prompts))


@dataclass(frozen=True)
class _Phases:
    shape: Shape
    rates: Rates

    def seconds(self, tokens: int, seen: float, read: float, drawn: int) -> float:
        """Least time of a phase.

        Args:
            tokens: That pass through the layers.
            seen: Visible tokens, summed over them.
            read: Positions whose keys and values are read.
            drawn: Positions at which a token is drawn.
        """
        shape, size = self.shape, _SIZE[self.rates.dtype]
        operations = 2 * shape.layer_weights * tokens + 4 * shape.layers * shape.width * seen
        operations += 2 * shape.head_weights * drawn
        weights = shape.layer_weights + (shape.head_weights if drawn else 0)
        moved = size * (weights + 2 * shape.layers * shape.key_width * read)
        return max(operations / self.rates.operations, moved / self.rates.reads)


def best(before: Rates, after: Rates) -> Rates:
    """The higher of the rates of two moments."""
    operations = max(before.operations, after.operations)
    return Rates(before.dtype, operations, max(before.reads, after.reads))


def measure(shape: Shape, rows: int, dtype: str, setting: Setting) -> Rates:
    """The machine's rates, measured now; `rows` is how many samples draw at once."""
    number = getattr(torch, dtype)
    square = (64 if setting.quick else 1024) if setting.device == "cpu" else 8192
    shapes = [
        (square, square, square),
        (rows, shape.width, shape.width),
        (rows, shape.width, shape.mlp),
        (rows, shape.mlp, shape.width),
        (rows, shape.width, shape.vocabulary),
    ]
    product = max(_product_rate(*each, number, setting) for each in shapes)
    return Rates(dtype, product, _read_rate(setting))


def _product_rate(
    rows: int, inner: int, columns: int, dtype: torch.dtype, setting: Setting
) -> float:
    left = torch.randn(rows, inner, dtype=dtype, device=setting.device)
    # As a linear layer holds its weights: one row an output.
    right = torch.randn(columns, inner, dtype=dtype, device=setting.device)
    operations = 2 * rows * inner * columns
    return operations / _best(lambda: torch.nn.functional.linear(left, right), setting)


def _read_rate(setting: Setting) -> float:
    """A read of far more than the caches hold: a sum, or a product of two vectors."""
    numbers = 2**16 if setting.quick else 2**26
    vector = torch.ones(numbers, device=setting.device)
    halves = vector[: numbers // 2], vector[numbers // 2 :]
    fastest = min(_best(vector.sum, setting), _best(lambda: torch.dot(*halves), setting))
    return 4 * numbers / fastest


def _best(run: Callable[[], object], setting: Setting) -> float:
    """Seconds of the fastest call, over a moment."""
    run()
    start = seconds(setting.device)
    run()
    calls = max(1, int(0.02 / max(seconds(setting.device) - start, 1e-9)))
    fastest = float("inf")
    end = time.monotonic() + (0.02 if setting.quick else 0.5)
    while time.monotonic() < end:
        start = seconds(setting.device)
        for _ in range(calls):
            run()
        fastest = min(fastest, (seconds(setting.device) - start) / calls)
    return fastest


def _triangle(count: int) -> int:
    """Tokens that `count` tokens in a row see of one another, each itself included."""
    return count * (count + 1) // 2
