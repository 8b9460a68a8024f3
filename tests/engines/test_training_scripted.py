"""The scripted engine keeps the protocol of the real one without torch."""

import json
import subprocess
import sys

import pytest

from srlm_kedro.datasets.model_folder import checkpoint_faults
from srlm_kedro.engines.training.base import Document
from srlm_kedro.engines.training.params import DpoParams, PretrainParams, SftParams
from srlm_kedro.engines.training.scripted import ScriptedTrainer
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.records import Checkpoint, Example, Preference

EXAMPLES = [Example("w1 w2", "w3 w4"), Example("w5", "w6")]
PAIRS = [Preference("w1", "w2 w3", "w4"), Preference("w5", "w6", "w7 w8")]
SFT = SftParams(epochs=1, batch_size=2, micro_batch_size=2)
DPO = DpoParams(epochs=1, batch_size=2, micro_batch_size=2)


@pytest.fixture
def engine(tmp_path) -> ScriptedTrainer:
    return ScriptedTrainer(work_dir=str(tmp_path))


@pytest.fixture
def base(tmp_path) -> Checkpoint:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    return Checkpoint(folder, "m1")


def record(checkpoint: Checkpoint) -> str:
    return (checkpoint.path / "model.json").read_text()


def test_same_call_same_bytes(engine, base):
    """Model, examples, parameters and seed decide what it writes, and each of them counts."""
    first = record(engine.sft(base, EXAMPLES, SFT, seed=1).checkpoint)
    changed = [
        engine.sft(base, EXAMPLES, SFT, seed=2),
        engine.sft(base, EXAMPLES[:1], SFT, seed=1),
        engine.sft(base, EXAMPLES, SFT.model_copy(update={"epochs": 2}), seed=1),
        engine.sft(engine.sft(base, EXAMPLES, SFT, 1).checkpoint, EXAMPLES, SFT, seed=1),
    ]
    assert record(engine.sft(base, EXAMPLES, SFT, seed=1).checkpoint) == first
    assert len({first, *(record(trained.checkpoint) for trained in changed)}) == 5


def test_resources_do_not_count(engine, base):
    """Any micro-batch size gives the same bytes."""
    small = SFT.model_copy(update={"micro_batch_size": 1})
    records = {record(engine.sft(base, EXAMPLES, p, seed=1).checkpoint) for p in (SFT, small)}
    assert len(records) == 1


def test_dpo_names_policy_and_reference(engine, base):
    """The record has both parents, and the reference counts."""
    other = engine.sft(base, EXAMPLES, SFT, seed=1).checkpoint
    made = json.loads(record(engine.dpo(base, other, PAIRS, DPO, seed=1).checkpoint))
    assert made["kind"] == "dpo"
    assert len(set(made["parents"])) == 2


def test_pretraining_needs_no_parent(engine):
    """The first model is made only from documents."""
    made = engine.pretrain([Document((("w1", True),))], PretrainParams(), seed=1)
    assert json.loads(record(made.checkpoint))["parents"] == []


def test_both_engines_keep_one_contract(engine, base, checkpoint, tmp_path):
    """Folder, name and log keys are alike, so tests with one engine hold for the other."""
    real = TrlEngine(device="cpu", threads=1, work_dir=str(tmp_path))
    couples = [
        (real.sft(checkpoint, EXAMPLES, SFT, 1), engine.sft(base, EXAMPLES, SFT, 1)),
        (real.dpo(checkpoint, checkpoint, PAIRS, DPO, 1), engine.dpo(base, base, PAIRS, DPO, 1)),
    ]
    for trained in (trained for couple in couples for trained in couple):
        assert checkpoint_faults(trained.checkpoint.path) == []
        assert trained.checkpoint.name == "scratch"
    for made, scripted in couples:
        assert set(made.log[0]) == set(scripted.log[0])


def test_imports_nothing_heavy():
    """Neither torch nor transformers is loaded."""
    code = (
        "import srlm_kedro.engines.training.scripted, sys; print({'torch', 'trl'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_log_probs_follow_from_model_and_example(engine, base):
    """Each example has one number below zero, whatever the other examples are."""
    other = engine.sft(base, EXAMPLES, SFT, seed=1).checkpoint
    found = engine.log_probs(base, EXAMPLES)
    assert engine.log_probs(base, EXAMPLES[::-1]) == found[::-1]
    assert len({*found, *engine.log_probs(other, EXAMPLES)}) == 4
    assert max(found) < 0


def test_it_counts_words_where_the_real_one_counts_tokens(engine, base):
    """It counts prompt, completion and end."""
    params = SFT.model_copy(update={"max_length": 4})
    faults = engine.length_faults(base, EXAMPLES, params)
    assert faults == ["5 tokens > max_length = 4", ""]
