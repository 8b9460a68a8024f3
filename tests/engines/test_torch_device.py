"""The type that a device computes in: only devices made for bfloat16 get it."""

import ctypes
import logging
import resource
from pathlib import Path

import pytest
import torch

from srlm_kedro.engines import torch_device
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.engines.training.trl.engine import TrlEngine


@pytest.fixture(autouse=True)
def _warned_once():
    torch_device._warn_if_slow.cache_clear()
    yield
    torch_device._warn_if_slow.cache_clear()


@pytest.mark.parametrize(
    ("device", "made_for_it", "expected"),
    [
        ("cpu", False, torch.float32),
        ("cpu", True, torch.float32),
        ("cuda", True, torch.bfloat16),
        ("cuda:1", True, torch.bfloat16),
        ("cuda", False, torch.float32),
    ],
)
def test_auto_goes_by_the_device(device, made_for_it, expected, monkeypatch):
    """A GPU made for bfloat16 computes in it; an older one, and every CPU, in float32."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: made_for_it)
    assert torch_device.dtype_of("auto", device) is expected


def test_a_slow_type_that_is_asked_for_is_taken_and_told_once(monkeypatch, caplog):
    """The warning says what was measured, and what to do."""
    monkeypatch.setattr(torch_device, "slowdown", lambda dtype: 12.3)
    with caplog.at_level(logging.WARNING):
        found = [torch_device.dtype_of("bfloat16", "cpu") for _ in range(2)]
    assert found == [torch.bfloat16] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "bfloat16 takes 12 times as long as float32 on this processor (measured on a product of "
        "matrices). Set the engines' dtype to auto or float32."
    ]


def test_a_processor_that_has_the_type_is_told_nothing(monkeypatch, caplog):
    """There is no warning, and for float32 nothing is measured."""
    monkeypatch.setattr(torch_device, "slowdown", lambda dtype: 0.6)
    with caplog.at_level(logging.WARNING):
        torch_device.dtype_of("bfloat16", "cpu")
    monkeypatch.setattr(torch_device, "slowdown", lambda dtype: pytest.fail("measured"))
    assert torch_device.dtype_of("float32", "cpu") is torch.float32
    assert not caplog.records


def test_the_slowdown_is_measured(monkeypatch):
    """The product of matrices is computed in both types."""
    multiplied = []
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda one, other: multiplied.append((one.dtype, other.dtype))
    )
    assert torch_device.slowdown(torch.bfloat16) > 0
    assert set(multiplied) == {(torch.bfloat16,) * 2, (torch.float32,) * 2}


def test_engines_on_a_cpu_compute_in_float32(checkpoint):
    """They do so whatever type the checkpoint has."""
    loaded = load(checkpoint, "auto", "cpu")
    assert loaded.model.dtype == torch.float32
    assert not TrlEngine("auto", device="cpu")._setup.bf16
    drawn = [
        TransformersEngine(dtype, device="cpu", threads=1).generate(
            checkpoint, [Request("a", "to be")], Sampling(max_new_tokens=8), seed=1
        )
        for dtype in ("auto", "float32")
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone has it")
def test_memory_that_training_has_freed_goes_back_to_the_system():
    """The C library would keep it, because a small block that is still used lies above it."""
    blocks = [bytes(100_000) for _ in range(3000)]
    used = blocks[::100]
    before = resident()
    del blocks
    torch_device.free_unused_memory(cuda=False)
    assert before - resident() > 100e6
    assert len(used) == 30


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
