"""Pairs whose responses share a row: TRL's losses and gradients with less work."""

import logging
import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from trl import DPOConfig

from srlm_kedro.engines.training.params import LoraParams
from srlm_kedro.engines.training.trl import shared_prompts
from srlm_kedro.engines.training.trl.adapters import load_adapted
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.engines.training.trl.guards import library_settings
from srlm_kedro.engines.training.trl.objectives import dpo_objective
from srlm_kedro.engines.training.trl.policy import TrainingOptions, load_policy, load_reference
from srlm_kedro.engines.training.trl.shared_prompts import (
    PairCollator,
    PairScorer,
    is_less_work,
    reason_against_sharing,
)
from srlm_kedro.engines.training.trl.token_rows import IGNORED, dpo_rows
from srlm_kedro.engines.training.trl.trainers import GuardedDpo
from tests.engines.models import write_model
from tests.engines.tuning import DPO, PAIRS, completion_logps

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
OBJECTIVES = {
    "plain": {},
    "nll_weight": {"nll_weight": 0.7},
    "length_normalised": {"length_normalised": True},
    "ld_alpha": {"ld_alpha": 0.5},
    "label_smoothing": {"label_smoothing": 0.2},
    "all that add up": {"nll_weight": 1.0, "ld_alpha": 0.3, "label_smoothing": 0.1},
}
KINDS = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": 64},
    "gpt2": {},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 64},
    "eager llama": {"attn_implementation": "eager"},
}
RECURRENT = {"attention_window_size": 64, "block_types": ["recurrent", "attention"], "head_dim": 8}


class TrlDpo(GuardedDpo):
    """TRL's own way: two rows per pair, its collator, its output layer."""

    def _reason_against_sharing(self, rows):
        return "a comparison is asked for"

    def _scorer_of(self, model):
        return model


class TrlHead(GuardedDpo):
    """As on a GPU: one row per pair, and TRL's output layer."""

    def _scorer_of(self, model):
        return PairScorer(model, "sdpa") if self._shares_rows else model


def refusing(error):
    """A trainer whose model raises `error` at shared rows."""

    class Refusing(GuardedDpo):
        def _scorer_of(self, model):
            def refuse(**inputs):
                raise error

            return refuse if self._shares_rows else super()._scorer_of(model)

    return Refusing


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("reference"), initializer_range=0.3)


def made(trainer_class, policy, folder, params=DPO, reference=None, rows=None):
    """A trainer that has done nothing but the reference's pass."""
    rows = rows or dpo_rows(policy.tokenizer, PAIRS)
    args = DPOConfig(
        output_dir=str(folder),
        beta=DPO.beta[0],
        precompute_ref_log_probs=True,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        max_length=None,
        per_device_train_batch_size=len(rows),
        report_to="none",
        disable_dropout=params.dropout == 0 and params.lora is None,
        **dpo_objective(params),
    )
    with library_settings(1):
        return trainer_class(
            model=policy.model,
            args=args,
            ref_model=reference,
            train_dataset=Dataset.from_list(rows),
            processing_class=policy.tokenizer,
            label="DPO of m1",
            reading=range(len(rows)),
            nll_weight=params.nll_weight,
        )


def step(trainer):
    """The loss, the gradients and the logged values of the first step, all pairs in it."""
    trainer.model.train()
    inputs = trainer._prepare_inputs(trainer.data_collator(list(trainer.train_dataset)))
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    gradients = {
        name: one.grad.clone()
        for name, one in trainer.model.named_parameters()
        if one.grad is not None
    }
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    trainer.model.zero_grad(set_to_none=True)
    return loss.item(), gradients, logged


def assert_same_step(found, wanted):
    assert found[0] == pytest.approx(wanted[0], abs=1e-5)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-5, rtol=1e-4, msg=name)
    for name in wanted[2].keys() - {"num_tokens"}:
        assert found[2][name] == pytest.approx(wanted[2][name], abs=1e-4), name


class TestSameAsTrl:
    @pytest.mark.parametrize("changes", OBJECTIVES.values(), ids=OBJECTIVES)
    def test_every_objective(self, checkpoint, other, tmp_path, changes):
        """Loss, all gradients and all logged values agree, with another reference."""
        params = DPO.model_copy(update=changes)
        ours, trls = (
            made(kind, load_policy(checkpoint, 0.0), tmp_path / name, params, load_reference(other))
            for name, kind in (("ours", GuardedDpo), ("trl", TrlDpo))
        )
        assert (ours._shares_rows, trls._shares_rows) == (True, False)
        assert_same_step(step(ours), step(trls))

    def test_trls_own_output_layer(self, checkpoint, other, tmp_path):
        """It takes shared rows as well. On GPUs it is used because it needs less memory."""
        ours, trls = (
            made(kind, load_policy(checkpoint, 0.0), tmp_path / name, DPO, load_reference(other))
            for name, kind in (("ours", TrlHead), ("trl", TrlDpo))
        )
        assert ours._shares_rows
        assert_same_step(step(ours), step(trls))

    @pytest.mark.parametrize("bf16", [False, True])
    def test_adapters(self, checkpoint, tmp_path, bf16):
        """The adapter's gradients agree, with its first state as the reference, in bfloat16 too."""
        lora = DPO.model_copy(update={"lora": LoraParams(rank=4, alpha=16), "nll_weight": 0.5})
        ours, trls = (
            made(
                kind,
                load_adapted(checkpoint, lora, TrainingOptions(bf16=bf16), 1),
                tmp_path / name,
                lora,
            )
            for name, kind in (("ours", GuardedDpo), ("trl", TrlDpo))
        )
        assert ours._shares_rows
        found, wanted = step(ours), step(trls)
        if not bf16:
            assert_same_step(found, wanted)
        assert found[0] == pytest.approx(wanted[0], abs=0.05)
        assert all("lora" in name for name in found[1])

    @pytest.mark.parametrize(("kind", "config"), KINDS.items(), ids=KINDS)
    def test_architectures(self, tmp_path, kind, config):
        """Each shares the row, and agrees with TRL in the reference's pass and the first step."""
        config = dict(config)
        attention = config.pop("attn_implementation", "sdpa")
        model = write_model(tmp_path / "model", kind=kind.split()[-1], **config)
        policies = [load_policy(model, 0.0) for _ in range(2)]
        for policy in policies:
            policy.model.set_attn_implementation(attention)
        ours = made(GuardedDpo, policies[0], tmp_path / "ours")
        trls = made(TrlDpo, policies[1], tmp_path / "trl")
        assert ours._shares_rows
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            assert ours.train_dataset[name][:] == pytest.approx(trls.train_dataset[name][:], 1e-5)
        assert_same_step(step(ours), step(trls))


class TestTheRow:
    @pytest.fixture
    def rows(self, checkpoint):
        return dpo_rows(load_policy(checkpoint, 0.0).tokenizer, PAIRS)

    def test_every_response_token_is_predicted_once(self, rows):
        """The targets are the chosen and rejected ids. The prompt's last token is before each."""
        batch = PairCollator(0)(rows)
        for index, row in enumerate(rows):
            targets = batch["row_targets"][index]
            assert targets[targets != IGNORED].tolist() == row["chosen_ids"] + row["rejected_ids"]
            first = [(batch["row_parts"][index] == part).nonzero()[0].item() for part in (1, 2)]
            shared = len(row["prompt_ids"]) - 1
            assert batch["row_ids"][index][first].tolist() == 2 * row["prompt_ids"][-1:]
            assert batch["row_positions"][index][first].tolist() == [shared, shared]

    def test_rejected_does_not_see_chosen(self, checkpoint, tmp_path, rows):
        """Other chosen tokens do not change a bit of the rejected log-probabilities."""
        trainer = made(GuardedDpo, load_policy(checkpoint, 0.0), tmp_path)
        changed = [{**row, "chosen_ids": [7] * len(row["chosen_ids"])} for row in rows]
        found = [
            trainer.compute_ref_log_probs(trainer.model, PairCollator(0)(some))
            for some in (rows, changed)
        ]
        assert torch.equal(found[0][1], found[1][1])
        assert not torch.equal(found[0][0], found[1][0])

    def test_prompt_of_one_token(self, checkpoint, tmp_path, rows):
        """Each response then has its own copy of that token, and the step equals TRL's."""
        short = [{**row, "prompt_ids": row["prompt_ids"][-1:]} for row in rows]
        ours, trls = (
            made(kind, load_policy(checkpoint, 0.0), tmp_path / name, rows=short)
            for name, kind in (("ours", GuardedDpo), ("trl", TrlDpo))
        )
        assert_same_step(step(ours), step(trls))

    @pytest.mark.parametrize(
        ("prompt", "response", "width", "wins"),
        [(60, 40, 256, True), (30, 400, 896, False), (300, 400, 896, True), (30, 400, 4096, True)],
    )
    def test_only_where_it_is_less_work(self, prompt, response, width, wins):
        """Attention over two long responses costs more than reading a short prompt twice."""
        row = {
            "prompt_ids": [1] * prompt,
            "chosen_ids": [1] * response,
            "rejected_ids": [1] * response,
        }
        assert is_less_work([row], width) is wins


class TestFallingBack:
    @pytest.fixture
    def said(self, caplog):
        caplog.set_level(logging.INFO, "srlm_kedro.engines.training.trl.trainers")
        return lambda: [one for one in caplog.messages if "do not share a row" in one]

    @pytest.mark.parametrize(
        ("kind", "config", "reason"),
        [
            ("mistral", {"sliding_window": 4}, "sliding_window = 4, and sequences have up to"),
            ("bloom", {}, "the model refuses such a row"),
        ],
    )
    def test_two_rows_where_one_is_not_understood(self, tmp_path, said, kind, config, reason):
        """The log says it once, and the loss is right."""
        model = write_model(tmp_path / "model", kind=kind, **config)
        params = DPO.model_copy(update={"epochs": 2, "nll_weight": 1.0})
        engine = TrlEngine(device="cpu", threads=1, work_dir=str(tmp_path))
        found = engine.dpo(model, model, PAIRS, params, seed=1).log[0]["loss"]
        nll = [-completion_logps(model, one.prompt, one.chosen).mean().item() for one in PAIRS]
        assert found == pytest.approx(math.log(2) + sum(nll) / len(nll), abs=1e-4)
        (line,) = said()
        assert line.startswith("DPO of m1:")
        assert reason in line

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_recurrent_blocks_are_found_out(self, tmp_path, said, dtype):
        """They ignore the mask. The change may be smaller than the rounding of bfloat16."""
        model = write_model(tmp_path / "model", kind="recurrent_gemma", **RECURRENT)
        engine = TrlEngine(dtype=dtype, device="cpu", threads=1, work_dir=str(tmp_path))
        engine.dpo(model, model, PAIRS, DPO.model_copy(update={"epochs": 1}), seed=1)
        (line,) = said()
        assert "other chosen ids change a rejected token's log-probability by" in line

    def test_mask_that_is_overlooked_is_found_out(self, checkpoint, tmp_path, said, monkeypatch):
        """Support is measured on a pair, whatever the configuration says."""
        monkeypatch.setattr(
            "srlm_kedro.engines.training.trl.shared_prompts._mask", lambda parts, kernel: None
        )
        trainer = made(GuardedDpo, load_policy(checkpoint, 0.0), tmp_path)
        assert not trainer._shares_rows
        assert "log-probabilities change by" in said()[0]

    def test_positions_that_are_overlooked_are_found_out(
        self, checkpoint, tmp_path, said, monkeypatch
    ):
        """Then the rejected response has positions after the chosen one, without seeing it."""
        plain = shared_prompts._shared_row

        def counted_on(row):
            found = plain(row)
            return {**found, "positions": list(range(len(found["ids"])))}

        monkeypatch.setattr(shared_prompts, "_shared_row", counted_on)
        trainer = made(GuardedDpo, load_policy(checkpoint, 0.0), tmp_path)
        assert not trainer._shares_rows
        assert "log-probabilities change by" in said()[0]

    @pytest.mark.parametrize("error", [KeyError("mask"), AssertionError("2-D"), IndexError("4")])
    def test_whatever_a_model_raises_is_an_obstacle(self, checkpoint, tmp_path, said, error):
        """The model's own code decides which error it raises."""
        made(refusing(error), load_policy(checkpoint, 0.0), tmp_path)
        assert f"the model refuses such a row ({type(error).__name__}" in said()[0]

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            MemoryError(),
        ],
    )
    def test_memory_that_runs_out_is_no_refusal(self, checkpoint, tmp_path, error):
        """Two rows would need as much memory."""
        with pytest.raises(type(error)):
            made(refusing(error), load_policy(checkpoint, 0.0), tmp_path)

    def test_other_kernels_are_not_asked(self):
        """Flash attention does not take our mask."""
        config = SimpleNamespace(_attn_implementation="flash_attention_2")
        model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda decoder: config))
        assert "runs as flash_attention_2" in reason_against_sharing(model, [])


def test_the_reference_reads_each_pair_once(trainer, checkpoint, monkeypatch):
    """This holds for any number of epochs. Each pair keeps its own values."""
    read = []
    plain = GuardedDpo.compute_ref_log_probs

    def noted(self, model, inputs):
        if self._shares_rows and len(inputs["row_ids"]) > 1:
            read.append(len(inputs["row_ids"]))
        return plain(self, model, inputs)

    monkeypatch.setattr(GuardedDpo, "compute_ref_log_probs", noted)
    params = DPO.model_copy(
        update={"epochs": 5, "learning_rate": (1e-12,), "min_learning_rate": (0.0,)}
    )
    log = trainer.dpo(checkpoint, checkpoint, PAIRS, params, seed=1).log
    assert read == [len(PAIRS)]
    assert log[-1]["rewards/margins"] == pytest.approx(0, abs=1e-5)
