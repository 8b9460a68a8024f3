"""Low-rank adapters: what is trained, what the reference is, and what is saved."""

import importlib.util
import json

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.training.params import LoraParams
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint
from tests.engines.models import write_model, write_qwen2
from tests.engines.tuning import DPO, EXAMPLES, PAIRS, SFT, mean_logp, weights_hash

LORA = LoraParams(rank=4, alpha=16)


def tuned(base, **changes):
    """The settings of `base` with an adapter, changed as asked."""
    return base.model_copy(update={"lora": LORA.model_copy(update=changes)})


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(checkpoint.path).named_parameters())


def adapter_hash(checkpoint: Checkpoint) -> bytes:
    return (checkpoint.path / "adapter_model.safetensors").read_bytes()


def reference_logps(first: dict[str, float], side: str) -> float:
    """The reference's mean log-probability, computed from a step's rewards."""
    return first[f"logps/{side}"] - first[f"rewards/{side}"] / DPO.beta[0]


@pytest.fixture
def chain(trainer, checkpoint):
    """Trains M1 by SFT and M2 by DPO with an adapter, and gives M0, M1 and M2."""

    def run(**changes):
        m1 = trainer.sft(checkpoint, EXAMPLES, tuned(SFT, **changes), 1).checkpoint
        m1 = Checkpoint(m1.path, "m1")
        m2 = trainer.dpo(m1, m1, PAIRS, tuned(DPO, **changes), 2).checkpoint
        return checkpoint, m1, Checkpoint(m2.path, "m2")

    return run


class TestReference:
    @pytest.mark.parametrize("keep", ["merged", "adapter"])
    @pytest.mark.parametrize("dropout", [0.0, 0.5])
    def test_it_is_the_last_model_never_the_first(self, trainer, chain, keep, dropout):
        """In iteration 3 it is M2, read by plain transformers. With adapters off it would be M0."""
        m0, _, m2 = chain(keep=keep)
        first = trainer.dpo(m2, m2, PAIRS, tuned(DPO, keep=keep, dropout=dropout), 3).log[0]
        for side in ("chosen", "rejected"):
            assert reference_logps(first, side) == pytest.approx(mean_logp(m2, side), abs=1e-4)
            assert abs(reference_logps(first, side) - mean_logp(m0, side)) > 0.5

    @pytest.mark.parametrize("keep", ["merged", "adapter"])
    def test_every_pair_has_the_last_models_log_probabilities(
        self, trainer, chain, keep, monkeypatch
    ):
        """They agree to 1e-5, row by row."""
        _, m1, _ = chain(keep=keep)
        from srlm_kedro.engines.training.trl.trainers import GuardedDpo
        from tests.engines.tuning import completion_logps

        seen = []
        plain = GuardedDpo._precompute_ref_logps
        monkeypatch.setattr(
            GuardedDpo,
            "_precompute_ref_logps",
            lambda *args, **kwargs: seen.append(plain(*args, **kwargs)) or seen[0],
        )
        trainer.dpo(m1, m1, PAIRS, tuned(DPO.model_copy(update={"epochs": 1}), keep=keep), 3)
        found = sorted(zip(seen[0]["ref_chosen_logps"], seen[0]["ref_rejected_logps"], strict=True))
        expected = sorted(
            tuple(
                completion_logps(m1, p.prompt, side).sum().item() for side in (p.chosen, p.rejected)
            )
            for p in PAIRS
        )
        for row, wanted in zip(found, expected, strict=True):
            assert row == pytest.approx(wanted, rel=1e-6, abs=1e-5)

    def test_another_model_can_be_the_reference(self, trainer, chain):
        """It can be a kept adapter as well, which is merged in memory."""
        _, m1, m2 = chain(keep="adapter")
        first = trainer.dpo(m2, m1, PAIRS, tuned(DPO, keep="adapter"), 3).log[0]
        assert reference_logps(first, "chosen") == pytest.approx(mean_logp(m1, "chosen"), abs=1e-4)


class TestWhatIsSaved:
    def test_merged_is_an_ordinary_checkpoint(self, chain):
        """Plain transformers reads full weights. The layers without an adapter are unchanged."""
        m0, m1, _ = chain()
        before, after = weights(m0), weights(m1)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {name for name in before if "_proj" in name}
        assert not list(m1.path.glob("adapter*"))
        for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
            first, second = (json.loads((m.path / name).read_text()) for m in (m0, m1))
            assert first == second

    def test_kept_adapters_stand_on_the_first_model(self, chain):
        """The folder holds the adapter and the tokenizer, and names M0 by its absolute path."""
        m0, m1, m2 = chain(keep="adapter")
        for model in (m1, m2):
            named = json.loads((model.path / "adapter_config.json").read_text())
            assert named["base_model_name_or_path"] == str(m0.path.resolve())
            names = {file.name for file in model.path.iterdir()}
            assert {"adapter_model.safetensors", "tokenizer.json"} <= names
            assert not {"config.json", "model.safetensors", "README.md"} & names

    def test_both_ways_begin_with_the_same_model(self, chain):
        """The merged M1 is M1's kept adapter, merged. M2 is trained from it."""
        merged, kept = chain(), chain(keep="adapter")
        first, second = weights(merged[1]), load(kept[1], "float32", "cpu").model
        for name, value in second.named_parameters():
            torch.testing.assert_close(first[name], value, rtol=0, atol=1e-6)
        before, after = (load_file(m.path / "adapter_model.safetensors") for m in kept[1:])
        assert before.keys() == after.keys()
        drift = max((after[name] - before[name]).abs().max() for name in before)
        assert 0 < drift < 0.1

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
    @pytest.mark.parametrize("keep", ["merged", "adapter"])
    def test_loading_is_what_transformers_and_peft_make_of_it(self, chain, keep):
        """The sampler's model has the same logits as base and adapter loaded by the libraries."""
        m0, _, m2 = chain(keep=keep)
        plain = AutoModelForCausalLM.from_pretrained(m0.path if keep == "adapter" else m2.path)
        if keep == "adapter":
            plain = PeftModel.from_pretrained(plain, m2.path).eval()
        ids = torch.tensor([[6, 7, 8, 9]])
        with torch.no_grad():
            found = load(m2, "float32", "cpu").model(ids).logits
            torch.testing.assert_close(found, plain(ids).logits, rtol=0, atol=1e-4)

    def test_kept_adapter_can_be_merged_or_trained_whole_later(self, trainer, chain):
        """The next iteration may use another setting."""
        _, _, m2 = chain(keep="adapter")
        merged = trainer.dpo(m2, m2, PAIRS, tuned(DPO), 3).checkpoint
        whole = trainer.dpo(m2, m2, PAIRS, DPO, 3)
        assert (merged.path / "config.json").is_file()
        assert weights(merged).keys() == weights(whole.checkpoint).keys()
        assert reference_logps(whole.log[0], "chosen") == pytest.approx(
            mean_logp(m2, "chosen"), abs=1e-4
        )


class TestTraining:
    def test_loss_falls_and_margin_rises(self, trainer, checkpoint):
        """An adapter learns."""
        sft = trainer.sft(checkpoint, EXAMPLES, tuned(SFT), 1).log
        dpo = trainer.dpo(checkpoint, checkpoint, PAIRS, tuned(DPO), 1).log
        assert sft[-1]["loss"] < 0.9 * sft[0]["loss"]
        assert dpo[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
        assert dpo[-1]["rewards/margins"] > 0.01

    @pytest.mark.parametrize("keep", ["merged", "adapter"])
    def test_same_seed_same_bits(self, trainer, checkpoint, keep):
        """Two runs agree in every bit, both dropouts included; another seed does not."""
        sft = tuned(SFT, keep=keep, dropout=0.2).model_copy(update={"dropout": 0.1})
        made = [trainer.sft(checkpoint, EXAMPLES, sft, seed).checkpoint for seed in (7, 7, 8)]
        hashes = [weights_hash(m) if keep == "merged" else adapter_hash(m) for m in made]
        assert hashes[0] == hashes[1] != hashes[2]

    @pytest.mark.parametrize(
        "change",
        [
            {"rank": 2},
            {"alpha": 4.0},
            {"dropout": 0.5},
            {"target_modules": ("q_proj", "v_proj")},
        ],
    )
    def test_each_knob_reaches_the_adapter(self, trainer, checkpoint, change):
        """A changed parameter changes the weights. Layers that are not named keep theirs."""
        made = [
            trainer.sft(checkpoint, EXAMPLES, tuned(SFT, **one), 1).checkpoint
            for one in ({}, change)
        ]
        assert weights_hash(made[0]) != weights_hash(made[1])
        if names := change.get("target_modules"):
            before, after = weights(checkpoint), weights(made[1])
            changed = {name for name in before if not torch.equal(before[name], after[name])}
            assert all(any(layer in name for layer in names) for name in changed)

    @pytest.mark.parametrize("which", ["model", "adapter"])
    def test_each_dropout_is_its_own(self, trainer, checkpoint, which):
        """With only one of the two dropouts, the policy differs from itself without dropout."""
        dpo = DPO.model_copy(update={"epochs": 1})
        still = trainer.dpo(checkpoint, checkpoint, PAIRS, tuned(dpo), 1)
        assert abs(still.log[0]["rewards/chosen"]) < 1e-5
        m1 = Checkpoint(
            trainer.sft(checkpoint, EXAMPLES, tuned(SFT, keep="adapter"), 1).checkpoint.path, "m1"
        )
        moved = tuned(dpo, keep="adapter", dropout=0.5 * (which == "adapter"))
        moved = moved.model_copy(update={"dropout": 0.5 * (which == "model")})
        first = trainer.dpo(m1, m1, PAIRS, moved, 1).log[0]
        assert abs(first["rewards/chosen"]) > 1e-3

    def test_activation_checkpointing_changes_rounding_alone(self, trainer, checkpoint, tmp_path):
        """The adapter still gets its gradients."""
        saving = TrlEngine(
            device="cpu", threads=1, work_dir=str(tmp_path), activation_checkpointing=True
        )
        logs = [e.dpo(checkpoint, checkpoint, PAIRS, tuned(DPO), 1).log for e in (trainer, saving)]
        assert logs[0][-1]["loss"] == pytest.approx(logs[1][-1]["loss"], abs=1e-5)
        assert logs[1][0]["grad_norm"] > 0

    def test_bfloat16_rounds_the_frozen_weights_in_memory_alone(self, checkpoint, tmp_path):
        """The merge uses the base as it is on disk."""
        half = TrlEngine("bfloat16", device="cpu", threads=1, work_dir=str(tmp_path))
        m1 = half.sft(checkpoint, EXAMPLES, tuned(SFT, target_modules=("q_proj",)), 1).checkpoint
        before, after = weights(checkpoint), weights(m1)
        for name, value in before.items():
            assert torch.equal(value, after[name]) is ("q_proj" not in name)
            assert after[name].dtype == torch.float32


class TestRefusals:
    def test_unknown_layers(self, trainer, checkpoint, tmp_path):
        """The message names the parameter and its value, and nothing stays on disk."""
        with pytest.raises(InputError, match=r"lora.target_modules = .*w_proj"):
            trainer.sft(checkpoint, EXAMPLES, tuned(SFT, target_modules=("w_proj",)), 1)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("names", [("lm_head",), ("q_proj", "embed_tokens"), ()])
    def test_layers_that_training_would_pass_by(self, names):
        """Training reads the weights of the output layer directly."""
        with pytest.raises(ValidationError, match="neither lm_head"):
            LoraParams(target_modules=names)

    def test_an_adapter_of_another_shape(self, trainer, chain):
        """A kept adapter cannot get another rank."""
        _, m1, _ = chain(keep="adapter")
        with pytest.raises(InputError, match=r"(?s)keep = merged.*rank = 8, but the adapter has 4"):
            trainer.dpo(m1, m1, PAIRS, tuned(DPO, keep="adapter", rank=8), 1)

    def test_a_base_that_is_gone(self, trainer, chain):
        """The message names the path and the file to correct."""
        _, m1, _ = chain(keep="adapter")
        file = m1.path / "adapter_config.json"
        file.write_text(
            file.read_text().replace(
                'base_model_name_or_path": "/', 'base_model_name_or_path": "/gone/'
            )
        )
        with pytest.raises(InputError, match=r"adapter on /gone/.*base_model_name_or_path"):
            trainer.sft(m1, EXAMPLES, SFT, 1)
        with pytest.raises(InputError, match=r"adapter on /gone/"):
            load(m1, "float32", "cpu")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model wide enough for a block of 64 weights."""
    return write_qwen2(tmp_path_factory.mktemp("wide"), hidden=64)


needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="the extra qlora is not installed"
)


class TestQuantised:
    @needs_bitsandbytes
    @pytest.mark.parametrize("keep", ["merged", "adapter"])
    def test_the_adapter_is_merged_into_the_unquantised_base(self, trainer, wide, keep):
        """M_t's full weights are M0's and the adapter's, which was trained in float32."""
        m1 = trainer.sft(wide, EXAMPLES, tuned(SFT, keep=keep, quantise="4bit"), 1)
        assert m1.log[-1]["loss"] < m1.log[0]["loss"]
        m1 = Checkpoint(m1.checkpoint.path, "m1")
        before, after = weights(wide), dict(load(m1, "float32", "cpu").model.named_parameters())
        assert torch.equal(before["model.norm.weight"], after["model.norm.weight"])
        update = (
            after["model.layers.0.mlp.up_proj.weight"] - before["model.layers.0.mlp.up_proj.weight"]
        )
        assert torch.linalg.matrix_rank(update.double(), rtol=1e-4) == LORA.rank
        m2 = trainer.dpo(m1, m1, PAIRS, tuned(DPO, keep=keep, quantise="4bit"), 2)
        assert abs(m2.log[0]["rewards/chosen"]) < 1e-3
        assert m2.log[-1]["rewards/margins"] > 0

    @needs_bitsandbytes
    def test_small_steps_are_not_lost(self, trainer, wide):
        """At a rate of 1e-6 every step changes the adapter; in bfloat16 it would not."""
        m1 = trainer.sft(wide, EXAMPLES, tuned(SFT, keep="adapter"), 1).checkpoint
        small = tuned(SFT, keep="adapter", quantise="4bit").model_copy(
            update={"learning_rate": 1e-6, "min_learning_rate": 1e-7}
        )
        m2 = trainer.sft(m1, EXAMPLES, small, 1).checkpoint
        before, after = (load_file(m.path / "adapter_model.safetensors") for m in (m1, m2))
        for name in before:
            assert after[name].dtype == torch.float32
            assert 0 < (after[name] - before[name]).abs().max() < 1e-5

    @needs_bitsandbytes
    def test_quantising_changes_training(self, trainer, wide):
        """The frozen weights are really rounded."""
        made = [
            trainer.sft(wide, EXAMPLES, tuned(SFT, quantise=q), 1).checkpoint
            for q in (None, "4bit")
        ]
        assert weights_hash(made[0]) != weights_hash(made[1])

    @needs_bitsandbytes
    def test_an_adapter_as_the_base_is_refused(self, trainer, wide):
        """An adapter merged in memory cannot be quantised."""
        m1 = trainer.sft(wide, EXAMPLES, tuned(SFT, keep="adapter"), 1).checkpoint
        with pytest.raises(InputError, match=r"holds an adapter. Set lora.keep = adapter"):
            trainer.sft(m1, EXAMPLES, tuned(SFT, quantise="4bit"), 1)

    def test_without_bitsandbytes_the_message_says_what_to_install(
        self, trainer, checkpoint, monkeypatch
    ):
        """The extra is named."""
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match=r"bitsandbytes.*srlm_kedro\[qlora\]"):
            trainer.sft(checkpoint, EXAMPLES, tuned(SFT, quantise="4bit"), 1)


def test_other_architectures_take_adapters_too(trainer, tmp_path_factory):
    """GPT-2's layers have another class and transposed weights."""
    gpt2 = write_model(tmp_path_factory.mktemp("gpt2"), kind="gpt2")
    m1 = trainer.sft(gpt2, EXAMPLES, tuned(SFT), 1)
    assert m1.log[-1]["loss"] < m1.log[0]["loss"]
    assert weights(m1.checkpoint).keys() == weights(gpt2).keys()


def test_a_kept_adapter_goes_on_with_its_own_layers(trainer, chain):
    """Other layers than the adapter has are refused, never silently left untrained."""
    _, m1, _ = chain(keep="adapter")
    with pytest.raises(InputError, match=r"lora\.target_modules"):
        trainer.dpo(m1, m1, PAIRS, tuned(DPO, keep="adapter", target_modules=("q_proj",)), 2)
