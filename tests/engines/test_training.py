"""The TRL engine, on a random model of a few thousand parameters."""

import gc
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
)

from srlm_kedro.display import progress
from srlm_kedro.engines.training.base import Document
from srlm_kedro.engines.training.params import DpoParams, PretrainParams
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.engines.training.trl.token_rows import sft_rows
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.pipelines.sft import eft_examples
from srlm_kedro.records import Checkpoint, Example, Preference
from tests.engines.models import write_model
from tests.engines.tuning import (
    DPO,
    EXAMPLES,
    PAIRS,
    SFT,
    completion_logps,
    mean_logp,
    weights_hash,
)


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Checkpoint:
    return write_model(tmp_path_factory.mktemp("reference"), initializer_range=0.3)


def models_in_memory() -> int:
    return sum(type(thing) is LlamaForCausalLM for thing in gc.get_objects())


def folder_state(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class TestSft:
    def test_loss_on_the_examples_falls(self, trainer, checkpoint):
        """The mean loss of the last epoch is below the first step's."""
        log = trainer.sft(checkpoint, EXAMPLES, SFT, seed=1).log
        assert log[-1]["loss"] < 0.8 * log[0]["loss"]

    def test_no_loss_on_the_prompt(self, checkpoint):
        """The labels are -100 for the prompt's ids, then the completion's ids and eos."""
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
        row = sft_rows(tokenizer, [EXAMPLES[1]])[0]
        prompt = tokenizer.convert_tokens_to_ids(["<s>", "<user>", "w9", "w10", "<assistant>"])
        completion = tokenizer.convert_tokens_to_ids(["w10", "w11", "</s>"])
        assert row["input_ids"] == prompt + completion
        assert row["labels"] == [-100] * len(prompt) + completion

    @pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
    def test_loss_is_the_mean_over_completion_tokens(self, trainer, checkpoint, micro_batch_size):
        """The first logged loss is the untrained model's mean over all completion tokens."""
        params = SFT.model_copy(update={"micro_batch_size": micro_batch_size})
        first = trainer.sft(checkpoint, EXAMPLES, params, seed=1).log[0]["loss"]
        logps = [completion_logps(checkpoint, e.prompt, e.completion) for e in EXAMPLES]
        assert first == pytest.approx(-torch.cat(logps).mean().item(), abs=1e-4)

    def test_an_answer_to_a_criterion_has_loss_on_its_token_alone(self, trainer, checkpoint):
        """Neither the question nor an end token is learnt: the first loss is that of the answer."""
        table = pd.DataFrame({"prompt": ["w9 w10 w3"], "completion": ["w4"], "complete": [False]})
        (example,) = eft_examples(table)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
        (row,) = sft_rows(tokenizer, [example])
        learnt = [label for label in row["labels"] if label != -100]
        assert learnt == row["input_ids"][-1:] == tokenizer.convert_tokens_to_ids(["w4"])
        params = SFT.model_copy(update={"batch_size": 1, "micro_batch_size": 1})
        first = trainer.sft(checkpoint, [example], params, seed=1).log[0]["loss"]
        (answer, *_) = completion_logps(checkpoint, example.prompt, example.completion)
        assert first == pytest.approx(-answer.item(), abs=1e-4)

    def test_learns_to_stop(self, trainer, checkpoint):
        """After training, the end token is likelier at the end of a completion."""
        trained = trainer.sft(checkpoint, EXAMPLES, SFT, seed=1).checkpoint
        before, after = (
            completion_logps(m, "w9 w10", "w10 w11")[-1] for m in (checkpoint, trained)
        )
        assert after > before + 1


class TestDpo:
    def test_margin_and_accuracy_rise(self, trainer, checkpoint):
        """The chosen responses win over the rejected ones by more than at the start."""
        log = trainer.dpo(checkpoint, checkpoint, PAIRS, DPO, seed=1).log
        assert log[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
        assert log[-1]["rewards/margins"] > 0.05
        assert log[-1]["rewards/accuracies"] == 1

    @pytest.mark.parametrize("dropout", [0.0, 0.5])
    def test_reference_is_the_given_checkpoint_without_dropout(
        self, trainer, checkpoint, other, dropout
    ):
        """Its log-probabilities, from the logged rewards, equal those of forward passes."""
        params = DPO.model_copy(update={"dropout": dropout})
        first = trainer.dpo(checkpoint, other, PAIRS, params, seed=1).log[0]
        for side in ("chosen", "rejected"):
            reference = first[f"logps/{side}"] - first[f"rewards/{side}"] / params.beta[0]
            assert reference == pytest.approx(mean_logp(other, side), abs=1e-3)

    def test_policy_that_is_its_own_reference_is_compared_without_dropout(
        self, trainer, checkpoint
    ):
        """If policy and reference are one folder, only the policy's pass has dropout."""
        params = DPO.model_copy(update={"dropout": 0.5})
        first = trainer.dpo(checkpoint, checkpoint, PAIRS, params, seed=1).log[0]
        reference = first["logps/chosen"] - first["rewards/chosen"] / params.beta[0]
        assert reference == pytest.approx(mean_logp(checkpoint, "chosen"), abs=1e-3)
        assert first["logps/chosen"] != pytest.approx(mean_logp(checkpoint, "chosen"), abs=1e-3)

    def test_dropout_layers_stay_on_in_training(self, trainer, tmp_path_factory):
        """By default TRL turns off dropout layers, which GPT-2 has. Here the parameter decides."""
        gpt2 = write_model(tmp_path_factory.mktemp("gpt2"), kind="gpt2")
        for dropout, same in ((0.0, True), (0.5, False)):
            params = DPO.model_copy(update={"dropout": dropout, "epochs": 1})
            first = trainer.dpo(gpt2, gpt2, PAIRS, params, seed=1).log[0]
            assert (abs(first["rewards/chosen"]) < 1e-4) is same

    @pytest.mark.parametrize(("name", "value"), [("m1", 0), ("m2", 1), ("m5", 1)])
    def test_schedules_are_read_at_the_iteration_being_made(
        self, trainer, checkpoint, other, name, value
    ):
        """m1 gets the first learning rate and beta; m2 and later models get the last."""
        params = DpoParams(
            **{**DPO.model_dump(), "learning_rate": (1e-3, 5e-4), "beta": (0.1, 0.5), "epochs": 1}
        )
        first = trainer.dpo(Checkpoint(checkpoint.path, name), other, PAIRS, params, seed=1).log[0]
        expected = params.beta[value] * (
            mean_logp(checkpoint, "chosen") - mean_logp(other, "chosen")
        )
        assert first["learning_rate"] == pytest.approx(params.learning_rate[value])
        assert first["rewards/chosen"] == pytest.approx(expected, abs=1e-3)


class TestBothTrainers:
    @pytest.fixture(params=["sft", "dpo"])
    def train(self, request, trainer, checkpoint):
        """Trains by SFT or DPO, with the settings above changed as asked."""

        def run(seed=1, base=checkpoint, **changes):
            if request.param == "sft":
                return trainer.sft(base, EXAMPLES, SFT.model_copy(update=changes), seed)
            if "min_learning_rate" in changes:
                changes["min_learning_rate"] = (changes["min_learning_rate"],)
            return trainer.dpo(base, base, PAIRS, DPO.model_copy(update=changes), seed)

        return run

    def test_same_seed_same_bits(self, train):
        """Two runs agree in every bit of the weights, dropout included; another seed does not."""
        hashes = [weights_hash(train(seed, dropout=0.1).checkpoint) for seed in (7, 7, 8)]
        assert hashes[0] == hashes[1] != hashes[2]

    def test_seed_of_63_bits_is_taken(self, train):
        """Seeds of `derive_seed` are wider than NumPy takes."""
        assert train(2**63 - 1, epochs=1).log

    def test_micro_batches_change_rounding_alone(self, train):
        """At most five of 1,000 weights differ, where Adam scales rounding up."""
        whole, parts = (
            AutoModelForCausalLM.from_pretrained(
                train(micro_batch_size=m, epochs=2).checkpoint.path
            )
            for m in (4, 1)
        )
        for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
            assert ((a - b).abs() > 2e-4).float().mean() < 0.005

    def test_rate_falls_along_a_cosine_to_the_minimum(self, train):
        """It goes from the peak at the first step to one step above the minimum."""
        rates = [row["learning_rate"] for row in train(epochs=50).log]
        peak = rates[0]
        assert peak in (SFT.learning_rate, DPO.learning_rate[0])
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] == pytest.approx(peak / 10, rel=0.01)

    def test_every_logged_value_is_kept_first_and_last_step_included(self, train):
        """The log has step 1, every tenth step, and the last step."""
        assert [row["step"] for row in train(epochs=23).log] == [1, 10, 20, 23]

    def test_checkpoint_on_disk_is_unchanged(self, train, checkpoint):
        """Training reads the policy's folder and never writes to it."""
        before = folder_state(checkpoint.path)
        train()
        assert folder_state(checkpoint.path) == before

    def test_only_the_model_stays_on_disk(self, train, tmp_path):
        """The trainer's folder is deleted, and the new folder is a whole Hugging Face folder."""
        path = train().checkpoint.path
        assert list(tmp_path.iterdir()) == [path]
        assert AutoTokenizer.from_pretrained(path).chat_template
        assert {"config.json", "generation_config.json", "model.safetensors"} <= {
            file.name for file in path.iterdir()
        }

    def test_configurations_come_out_as_they_went_in(self, train, checkpoint):
        """The saved configurations do not show dropout and padding of the training."""
        path = train(dropout=0.3).checkpoint.path
        for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
            assert json.loads((path / name).read_text()) == json.loads(
                (checkpoint.path / name).read_text()
            )

    def test_dropout_reaches_the_model(self, train):
        """With the same seed, dropout gives other weights."""
        assert weights_hash(train(dropout=0.3).checkpoint) != weights_hash(train().checkpoint)

    @pytest.mark.parametrize(
        "change", [{"weight_decay": 0.5}, {"max_grad_norm": 0.01}, {"warmup": 0.5}]
    )
    def test_each_knob_reaches_the_optimiser(self, train, change):
        """A changed parameter changes the weights."""
        assert weights_hash(train(**change).checkpoint) != weights_hash(train().checkpoint)

    def test_long_rows_are_refused_with_their_prompts(self, train, tmp_path):
        """The message says how many and which rows, and the limit. Nothing is cut."""
        with pytest.raises(
            InputError, match=r"(?s)of 4 are .* max_length = 10 .*1\d tokens with the prompt"
        ):
            train(max_length=10)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("kind", ["sft", "dpo"])
    def test_a_few_long_rows_are_left_out_and_counted(self, trainer, checkpoint, kind, caplog):
        """The model equals that of the other rows, to the bit. The log says what is left out."""
        given, long, params = {
            "sft": (EXAMPLES, Example("w1", "w2 " * 60), SFT),
            "dpo": (PAIRS, Preference("w1", "w2 " * 60, "w3"), DPO),
        }[kind]
        params = params.model_copy(update={"max_length": 50, "max_too_long": 0.5})
        models = [checkpoint] * (2 if kind == "dpo" else 1)

        def made(rows):
            return getattr(trainer, kind)(*models, rows, params, seed=1)

        whole, rest = made([*given, long]), made(given)
        assert (whole.too_long, rest.too_long) == (1, 0)
        assert weights_hash(whole.checkpoint) == weights_hash(rest.checkpoint)
        assert f"1 of {len(given) + 1} rows are longer than max_length = 50" in caplog.text
        params = params.model_copy(update={"max_too_long": 0.01})
        with pytest.raises(InputError, match=r"`max_too_long` = 0\.01"):
            made([*given, long])

    def test_long_examples_are_told_from_the_tokenizer_alone(self, trainer, checkpoint, tmp_path):
        """No weights are needed, and both limits count."""
        bare = tmp_path / "bare"
        shutil.copytree(checkpoint.path, bare, ignore=shutil.ignore_patterns("*.safetensors"))
        examples = [Example("w1", "w2 " * count) for count in (2, 60, 200)]
        long = trainer.length_faults(Checkpoint(bare, "m0"), examples, SFT)
        assert long[:2] == ["", ""]
        assert "max_position_embeddings = 128" in long[2]
        short = trainer.length_faults(
            Checkpoint(bare, "m0"), examples, SFT.model_copy(update={"max_length": 50})
        )
        assert [bool(fault) for fault in short] == [False, True, True]
        assert re.fullmatch(r"6\d tokens > max_length = 50", short[1])

    def test_rows_beyond_the_models_positions_are_refused(self, trainer, checkpoint):
        """A large `max_length` does not allow rows that the model cannot see."""
        long = [Example("w1", "w2 " * 130)]
        with pytest.raises(InputError, match="max_position_embeddings = 128"):
            trainer.sft(checkpoint, long, SFT, seed=1)

    def test_impossible_settings_are_refused_all_at_once(self, train):
        """Every contradiction is named in one message."""
        message = r"(?s)no multiple of micro_batch_size = 3.*min_learning_rate = 1.0 is above"
        with pytest.raises(InputError, match=message):
            train(micro_batch_size=3, min_learning_rate=1.0)

    def test_broken_loss_stops_the_run(self, trainer, checkpoint, tmp_path):
        """The message names the step of a loss that is not finite, and no model is saved."""
        with pytest.raises(GateError, match=r"SFT of m1: the loss is nan at step 2 of 5"):
            trainer.sft(
                checkpoint, EXAMPLES, SFT.model_copy(update={"learning_rate": 1e38}), seed=1
            )
        assert list(tmp_path.iterdir()) == []

    def test_memory_is_free_afterwards(self, train):
        """Only the handle remains; no model stays in memory."""
        gc.collect()
        before = models_in_memory()
        train()
        assert models_in_memory() <= before

    def test_quiet_and_without_traces(self, train, capfd, monkeypatch):
        """There is no bar and no telemetry. Threads and random state are restored."""
        called = []
        monkeypatch.setattr(
            "trl.trainer.base_trainer.send_telemetry", lambda *a, **k: called.append(a)
        )
        monkeypatch.delenv("CI", raising=False)
        before = torch.get_num_threads(), torch.get_rng_state()
        train()
        assert not called
        assert capfd.readouterr() == ("", "")
        assert torch.get_num_threads() == before[0]
        assert torch.equal(torch.get_rng_state(), before[1])


def test_a_training_says_before_it_starts_how_much_it_is(trainer, checkpoint, caplog):
    """Examples, tokens, epochs and steps; few steps get a warning that names the knobs."""
    with caplog.at_level("INFO", "srlm_kedro"):
        trainer.sft(checkpoint, EXAMPLES, SFT, 0)
        trainer.dpo(checkpoint, checkpoint, PAIRS, DPO.model_copy(update={"epochs": 20}), 0)
    first, few, last = [text for text in caplog.messages if "epochs" in text]
    assert re.match(r"SFT of \S+: 4 examples of \d+ tokens, 5 epochs: 5 steps of 4 examples", first)
    assert "5 optimizer steps can hardly teach a model anything" in few
    assert "`sft.batch_size` (now 4), or raise `sft.epochs` (now 5)" in few
    assert re.match(r"DPO of \S+: 4 pairs of \d+ tokens, 20 epochs: 20 steps of 4 pairs", last)
    steps = [text for text in caplog.messages if "final loss" in text]
    assert [text.split(": ")[1].split()[0] for text in steps] == ["5", "20"]


def test_a_step_of_several_micro_batches_is_reported_in_parts(trainer, checkpoint):
    """Two steps of four micro-batches are eight reports, and the last says that all is done."""
    told = []
    listener = lambda node, done, total, far: told.append((done, total))  # noqa: E731
    progress.listen(listener)
    sft = SFT.model_copy(update={"micro_batch_size": 1, "epochs": 2})
    trainer.sft(checkpoint, EXAMPLES, sft, 0)
    progress.unlisten(listener)
    assert told == [(part / 4, 2) for part in range(1, 9)]


def test_nothing_to_train_on_is_refused(trainer, checkpoint):
    """Empty tables stop the run before any model is loaded."""
    with pytest.raises(InputError, match="nothing to train on"):
        trainer.sft(checkpoint, [], SFT, seed=1)
    with pytest.raises(InputError, match="nothing to train on"):
        trainer.dpo(checkpoint, checkpoint, [], DPO, seed=1)


def test_bfloat16_computes_in_it_and_keeps_float32_weights(checkpoint, tmp_path):
    """Autocast changes the result. The saved weights keep small steps in full precision."""
    trained = TrlEngine("bfloat16", device="cpu", threads=1, work_dir=str(tmp_path)).sft(
        checkpoint, EXAMPLES, SFT, seed=1
    )
    exact = TrlEngine(device="cpu", threads=1, work_dir=str(tmp_path)).sft(
        checkpoint, EXAMPLES, SFT, 1
    )
    weights = AutoModelForCausalLM.from_pretrained(trained.checkpoint.path)
    assert weights.dtype == torch.float32
    assert weights_hash(trained.checkpoint) != weights_hash(exact.checkpoint)
    assert trained.log[-1]["loss"] == pytest.approx(exact.log[-1]["loss"], rel=0.1)


def test_pretraining_is_reached_through_the_engine(trainer, caplog, tmp_path, monkeypatch):
    """It makes a checkpoint for SFT, and reports its progress."""
    documents = [Document((("w1 w2", False), ("w3 w4 w5", True)))] * 128
    params = PretrainParams(
        hidden_size=16, layers=1, heads=2, mlp_size=16, positions=32, row_length=16, batch_size=4
    )
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with caplog.at_level("INFO"):
        made = trainer.pretrain(documents, params, seed=1)
    steps = int(made.log[-1]["step"])
    assert f"Pre-training: {steps} steps, final loss " in caplog.text
    assert trainer.sft(made.checkpoint, [Example("w1 w2", "w3")], SFT, seed=1).log


def test_activation_checkpointing_changes_rounding_alone(trainer, checkpoint, tmp_path):
    """It saves memory, and the result is the same."""
    saving = TrlEngine(
        device="cpu", threads=1, work_dir=str(tmp_path), activation_checkpointing=True
    )
    losses = [
        e.dpo(checkpoint, checkpoint, PAIRS, DPO, seed=1).log[-1]["loss"] for e in (trainer, saving)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
