"""When activation checkpointing and bfloat16 are used."""

import logging

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from srlm_kedro.engines import machine
from srlm_kedro.engines.training.ranks import Ranks
from srlm_kedro.engines.training.trl import activation_memory
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.engines.training.trl.policy import TrainingOptions
from srlm_kedro.errors import InputError
from tests.engines.tuning import DPO, EXAMPLES, PAIRS, SFT, weights_hash

ROWS, LENGTH = 8, 128


def kept_bytes(model, bf16: bool) -> int:
    """Bytes that autograd keeps of a pass through the blocks, without the weights."""
    own = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        weight = tensor.dim() == 2 and {*tensor.shape} <= {64, 176}
        if storage.data_ptr() not in own and not weight:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    ids = torch.randint(0, 32, (ROWS, LENGTH))
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        model.base_model(ids, attention_mask=torch.ones_like(ids))
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(
    ("kind", "attention", "dropout"),
    [("llama", "sdpa", 0.0), ("qwen2", "sdpa", 0.0), ("llama", "sdpa", 0.1), ("llama", "eager", 0)],
)
def test_estimate_is_above_what_is_kept_but_near(kind, attention, dropout, bf16):
    """It is between one and two times what autograd keeps."""
    config = AutoConfig.for_model(
        kind,
        vocab_size=32,
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        attention_dropout=dropout,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).train()
    kept = kept_bytes(model, bf16)
    estimate = activation_memory.activation_bytes(model.config, ROWS, LENGTH, cpu=True, bf16=bf16)
    assert kept < estimate < 2 * kept


@pytest.mark.parametrize(
    ("kind", "config"),
    [("mamba", {}), ("gemma3n_text", {"intermediate_size": [32, 64], "num_hidden_layers": 2})],
)
def test_estimate_for_other_shapes_of_configuration(kind, config):
    """Blocks of several widths, or without attention, stop no run."""
    made = AutoConfig.for_model(kind, hidden_size=32, attn_implementation="eager", **config)
    assert activation_memory.activation_bytes(made, ROWS, LENGTH, cpu=True, bf16=False) > 0


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        (["1048576\n"], 2**20),
        (["max\n", "2097152\n"], 2**21),
        (["max\n"], None),
        (["9223372036854771712\n"], None),
        ([], None),
    ],
)
def test_memory_of_the_machine_or_its_container(texts, limit, tmp_path, monkeypatch):
    """The smaller one counts. Control groups without a limit say "max" or a huge number."""
    paths = [tmp_path / str(index) for index in range(2)]
    monkeypatch.setattr(machine, "LIMITS", paths)
    physical = activation_memory._free_memory(TrainingOptions())
    for path, text in zip(paths, texts, strict=False):
        path.write_text(text)
    assert activation_memory._free_memory(TrainingOptions()) == (limit or physical)


def test_ranks_share_the_memory_of_their_machine():
    """Each counts on its part."""
    alone, beside = (TrainingOptions(ranks=Ranks(4, here=here)) for here in (1, 4))
    whole = activation_memory._free_memory(alone)
    assert activation_memory._free_memory(beside) == whole // 4


class TestChoice:
    @pytest.fixture(params=["sft", "dpo"])
    def said(self, request, checkpoint, tmp_path, caplog):
        """Trains, and gives the log lines about activations, and the model."""
        caplog.set_level(logging.INFO, "srlm_kedro.engines.training.trl.activation_memory")

        def run(**options):
            engine = TrlEngine(device="cpu", threads=1, work_dir=str(tmp_path), **options)
            caplog.clear()
            made = (
                engine.sft(checkpoint, EXAMPLES, SFT, seed=1)
                if request.param == "sft"
                else engine.dpo(checkpoint, checkpoint, PAIRS, DPO, seed=1)
            )
            return [one for one in caplog.messages if "computed twice" in one], made

        return run

    def test_off_where_there_is_room(self, said):
        """Nothing is computed twice, and nothing is logged."""
        assert said()[0] == []

    def test_on_where_there_is_not_and_the_bits_are_the_same(self, said, monkeypatch):
        """The log says once how much is needed and how much there is."""
        plain = said(activation_checkpointing=False)[1]
        monkeypatch.setattr(activation_memory, "_free_memory", lambda cpu: 2**10)
        lines, saving = said()
        assert len(lines) == 1
        assert "room for 0.0 GiB" in lines[0]
        assert weights_hash(saving.checkpoint) == weights_hash(plain.checkpoint)

    @pytest.mark.parametrize("choice", [True, False])
    def test_a_choice_is_kept(self, said, choice, monkeypatch):
        """The memory is not measured."""
        monkeypatch.setattr(activation_memory, "_free_memory", lambda cpu: pytest.fail("asked"))
        assert said(activation_checkpointing=choice)[0] == []


def test_auto_means_float32_on_a_cpu(checkpoint, tmp_path):
    """The bits equal those of the default."""
    found = [
        weights_hash(engine.sft(checkpoint, EXAMPLES, SFT, 1).checkpoint)
        for engine in (
            TrlEngine(dtype, device="cpu", threads=1, work_dir=str(tmp_path))
            for dtype in ("auto", "float32")
        )
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "option", [{"dtype": "float16"}, {"activation_checkpointing": "sometimes"}]
)
def test_unknown_options_are_refused(option):
    """The message names the option, the value and what is allowed."""
    ((name, value),) = option.items()
    with pytest.raises(InputError, match=f"{name} = '{value}' is none of"):
        TrlEngine(device="cpu", **option)
