"""Training that is killed and repeated ends in the bits of an undisturbed run."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from srlm_kedro.engines.training.base import Trained
from srlm_kedro.engines.training.params import DpoParams, LoraParams, PretrainParams
from srlm_kedro.engines.training.pretraining import pretrain
from srlm_kedro.engines.training.trl import fine_tuning, trainers
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.engines.training.trl.guards import Guarded
from srlm_kedro.engines.training.trl.trainers import GuardedDpo
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Checkpoint
from tests.engines.models import write_model
from tests.engines.test_pretraining import DOCUMENTS, TINY
from tests.engines.tuning import DPO, EXAMPLES, PAIRS, SFT

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
STEPS = 5
DROPPING = {"dropout": 0.2}
# The last of five steps holds one micro-batch in place of two.
ACCUMULATING = {"dropout": 0.2, "micro_batch_size": 2, "epochs": 4.5}
ADAPTER = {"dropout": 0.1, "lora": LoraParams(rank=4, alpha=16, dropout=0.2, keep="adapter")}


class Killed(BaseException):
    """Replaces a signal, which would end the tests as well."""


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Checkpoint:
    return write_model(tmp_path_factory.mktemp("reference"), initializer_range=0.35)


@pytest.fixture(scope="module")
def adapter(checkpoint, tmp_path_factory) -> Checkpoint:
    """A kept adapter for further training."""
    work = str(tmp_path_factory.mktemp("adapter"))
    params = SFT.model_copy(update=ADAPTER)
    engine = TrlEngine(device="cpu", threads=1, work_dir=work)
    return Checkpoint(engine.sft(checkpoint, EXAMPLES, params, 1).checkpoint.path, "m1")


@pytest.fixture
def make(tmp_path):
    """An engine that keeps every step's state in `tmp_path / "kept"`, changed as asked."""

    def engine(**options):
        return TrlEngine(
            **{
                "device": "cpu",
                "threads": 1,
                "work_dir": str(tmp_path / "work"),
                "checkpoints": str(tmp_path / "kept"),
                "checkpoint_seconds": 0,
                **options,
            }
        )

    return engine


@pytest.fixture(autouse=True)
def often_logged(monkeypatch):
    """Each row of the log then has sums from before and after a kill."""
    monkeypatch.setattr(fine_tuning, "_LOG_EVERY", 3)
    monkeypatch.setattr(pretrain, "_LOG_EVERY", 3)


@pytest.fixture
def kill(monkeypatch):
    """`kill(step)`: the next training dies in that step; `kill(None)`: it does not.

    It dies at the last micro-batch, with gradients of the others in memory.
    """
    at: list[int | None] = [None]
    plain = Guarded.training_step
    calls = [0]

    def training_step(self, *args, **kwargs):
        if self.accelerator.gradient_state.sync_gradients:
            calls[0] += 1
            if self.state.global_step + 1 == at[0]:
                raise Killed
        return plain(self, *args, **kwargs)

    class Run(pretrain._Run):
        def step(self, loss):
            calls[0] += 1
            if self.done + 1 == at[0]:
                raise Killed
            super().step(loss)

    monkeypatch.setattr(Guarded, "training_step", training_step)
    monkeypatch.setattr(pretrain, "_Run", Run)

    def set_step(number):
        at[0], calls[0] = number, 0
        return calls

    return set_step


def bits(trained: Trained) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in trained.checkpoint.path.iterdir()}


def assert_same(found: Trained, wanted: Trained) -> None:
    assert found.log == wanted.log
    assert bits(found) == bits(wanted)


def sft(changes, base="checkpoint"):
    params = SFT.model_copy(update=changes)
    return lambda engine, models: engine.sft(models[base], EXAMPLES, params, 1)


def dpo(changes, base="checkpoint", reference="checkpoint"):
    params = DPO.model_copy(update=changes)
    return lambda engine, models: engine.dpo(models[base], models[reference], PAIRS, params, 1)


def pretrained(engine, models):
    return engine.pretrain(DOCUMENTS * 6, TINY, 1)


CASES = {
    "sft": sft({}),
    "sft, dropout": sft(DROPPING),
    "sft, accumulated": sft(ACCUMULATING),
    "sft, adapter": sft(ADAPTER),
    "sft, merged adapter": sft({"lora": LoraParams(rank=4, dropout=0.2)}),
    "dpo": dpo({}),
    "dpo, dropout": dpo(DROPPING),
    "dpo, accumulated": dpo(ACCUMULATING | {"ld_alpha": 0.5, "nll_weight": 0.3}),
    "dpo, two rows a pair": dpo(DROPPING),
    "dpo, another reference": dpo(DROPPING, reference="other"),
    "dpo, adapter": dpo(ADAPTER),
    "dpo, adapter that goes on": dpo(ADAPTER, "adapter", "adapter"),
    "pretraining": pretrained,
}


@pytest.fixture
def models(checkpoint, other, adapter):
    return {"checkpoint": checkpoint, "other": other, "adapter": adapter}


@pytest.mark.parametrize("case", CASES)
def test_killed_in_every_step(make, models, kill, caplog, monkeypatch, case):
    """Each run is killed one step later than the one before, and no step is done twice."""
    caplog.set_level("INFO")
    if "two rows" in case:
        monkeypatch.setattr(trainers, "is_less_work", lambda *args: False)
    train = CASES[case]
    wanted = train(make(checkpoints=None), models)
    last = int(wanted.log[-1]["step"])
    assert last >= STEPS
    assert len(wanted.log) >= 3 if "pretraining" not in case else len(wanted.log) >= 2
    for step in range(1, last + 1):
        calls = kill(step)
        with pytest.raises(Killed):
            train(make(), models)
        assert calls[0] == (1 if step == 1 else 2)
    kill(None)
    assert_same(train(make(), models), wanted)
    assert f"goes on at step {last - 1} of {last}." in caplog.text


@pytest.mark.parametrize("case", ["sft, dropout", "dpo, dropout", "pretraining"])
def test_killed_after_the_last_step(make, models, case, monkeypatch):
    """The model is saved without a further step."""
    train = CASES[case]
    wanted = train(make(checkpoints=None), models)
    train(make(), models)
    monkeypatch.setattr(Guarded, "training_step", None)
    monkeypatch.setattr(pretrain, "loss_of", None)
    assert_same(train(make(), models), wanted)


@pytest.mark.parametrize("case", ["sft, dropout", "dpo, dropout", "pretraining"])
def test_keeping_changes_no_bit(make, models, case):
    """It does not change the log either."""
    train = CASES[case]
    assert_same(train(make(), models), train(make(checkpoints=None), models))


CHILD = """
import json, os, signal, sys
from pathlib import Path
from srlm_kedro.engines.training.resume import snapshots
from srlm_kedro.engines.training.trl import fine_tuning
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.records import Checkpoint
from tests.engines.tuning import DPO, PAIRS

model, work, kept = map(Path, sys.argv[1:])
plain = snapshots._fill

def fill(folder, parts):
    plain(folder, parts)
    if parts.get("reached", {}).get("step") == 3:
        (folder / "sums.json").unlink()
        os.kill(os.getpid(), signal.SIGKILL)

snapshots._fill = fill
fine_tuning._LOG_EVERY = 3
engine = TrlEngine(device="cpu", threads=1, work_dir=str(work), checkpoints=str(kept),
                       checkpoint_seconds=0)
policy = Checkpoint(model, "m1")
engine.dpo(policy, policy, PAIRS, DPO.model_copy(update={"dropout": 0.2}), 1)
"""


def test_kill_9_amid_the_writing_of_a_state(make, models, tmp_path, caplog):
    """Another process goes on from the earlier state, and logs the half-written one."""
    caplog.set_level("INFO")
    folders = [str(models["checkpoint"].path), str(tmp_path / "work"), str(tmp_path / "kept")]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *folders],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": "src:.", "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    train = CASES["dpo, dropout"]
    assert_same(train(make(), models), train(make(checkpoints=None), models))
    assert "DPO of m1: goes on at step 2 of 5." in caplog.messages
    assert "was never finished and is skipped" in caplog.text


def the_folder(tmp_path) -> Path:
    (folder,) = (tmp_path / "kept").iterdir()
    return folder


@pytest.mark.parametrize("older", [True, False])
def test_a_damaged_state_is_passed_over(make, models, kill, tmp_path, caplog, older):
    """Training goes on from the state before it, or else from the beginning."""
    caplog.set_level("INFO")
    train = CASES["dpo, dropout"]
    kill(3)
    with pytest.raises(Killed):
        train(make(), models)
    shutil.copytree(the_folder(tmp_path) / "step-2", tmp_path / "step-2")
    kill(5)
    with pytest.raises(Killed):
        train(make(), models)
    if older:
        shutil.copytree(tmp_path / "step-2", the_folder(tmp_path) / "step-2")
    file = next((the_folder(tmp_path) / "step-4").glob("rank-0/weights*"))
    file.write_bytes(file.read_bytes()[:-4] + b"\0\1\2\3")
    calls = kill(None)
    caplog.clear()
    assert_same(train(make(), models), train(make(checkpoints=None), models))
    assert f"step-4 is damaged and is skipped: {file.name}" in caplog.text
    assert ("goes on at step 2 of 5" in caplog.text) is older
    assert calls[0] == STEPS + (3 if older else 5)


def test_a_damaged_reference_is_computed_again(make, models, kill, tmp_path):
    """The state of a step is still used with it."""
    train = CASES["dpo, another reference"]
    kill(3)
    with pytest.raises(Killed):
        train(make(), models)
    (the_folder(tmp_path) / "reference" / "sums.json").write_text("")
    kill(None)
    assert_same(train(make(), models), train(make(checkpoints=None), models))


def test_the_reference_is_asked_once(make, models, kill, monkeypatch):
    """This holds even if training was killed in its first step."""
    train = CASES["dpo, another reference"]
    kill(1)
    with pytest.raises(Killed):
        train(make(), models)
    kill(None)
    monkeypatch.setattr(GuardedDpo, "compute_ref_log_probs", None)
    monkeypatch.setattr(GuardedDpo, "_disagreement", None)
    assert train(make(), models).log


def other_seed(engine, models):
    return engine.sft(models["checkpoint"], EXAMPLES, SFT, 2)


def other_rows(engine, models):
    return engine.sft(models["checkpoint"], EXAMPLES[::-1], SFT, 1)


OTHERS = {
    "learning rate": ({}, sft({"learning_rate": 2e-2})),
    "micro-batch": ({}, sft({"micro_batch_size": 2})),
    "dropout": ({}, sft(DROPPING)),
    "adapter": ({}, sft(ADAPTER)),
    "seed": ({}, other_seed),
    "rows": ({}, other_rows),
    "model": ({}, sft({}, "other")),
    "precision": ({"dtype": "bfloat16"}, sft({})),
    "threads": ({"threads": 2}, sft({})),
    "activations": ({"activation_checkpointing": True}, sft({})),
    "kind of training": ({}, dpo({})),
}


@pytest.mark.parametrize("other_case", OTHERS)
def test_another_training_starts_anew(make, models, kill, tmp_path, caplog, other_case):
    """Any change that can change a bit counts. The states of the first training stay."""
    caplog.set_level("INFO")
    kill(3)
    with pytest.raises(Killed):
        CASES["sft"](make(), models)
    first = the_folder(tmp_path)
    options, train = OTHERS[other_case]
    with pytest.raises(Killed):
        train(make(**options), models)
    assert "goes on" not in caplog.text
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert (first / "step-2").is_dir()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (dpo({}), dpo({"beta": (0.2,)})),
        (dpo({}), dpo({}, reference="other")),
        (dpo({}, reference="other"), dpo({}, reference="adapter")),
        (pretrained, lambda engine, models: engine.pretrain(DOCUMENTS * 5, TINY, 1)),
        (pretrained, lambda engine, models: engine.pretrain(DOCUMENTS * 6, TINY, 2)),
    ],
)
def test_another_reference_beta_or_corpus_starts_anew(make, models, kill, tmp_path, first, second):
    """These are inputs that only DPO or only pretraining has."""
    kill(3)
    for train in (first, second):
        with pytest.raises(Killed):
            train(make(), models)
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_what_changes_no_bit_goes_on(make, models, kill, tmp_path, caplog):
    """That is the interval, a limit, values of another iteration, and a copied model."""
    caplog.set_level("INFO")
    kill(3)
    with pytest.raises(Killed):
        dpo({})(make(), models)
    copied = Checkpoint(tmp_path / "copied", "m1")
    shutil.copytree(models["checkpoint"].path, copied.path, copy_function=shutil.copyfile)
    changes = {"max_log_ratio": 60.0, "beta": (0.1, 0.5)}
    kill(None)
    dpo(changes, "copied", "copied")(make(checkpoint_seconds=300), {"copied": copied})
    assert "goes on at step 2 of 5" in caplog.text


def test_forget_deletes_what_was_kept(make, models, tmp_path):
    """It deletes all three kinds. The same call then trains again, to the same bits."""
    engine = make()
    made = [CASES[case](engine, models) for case in ("sft", "dpo", "pretraining")]
    assert len(list((tmp_path / "kept").iterdir())) == 3
    engine.forget()
    assert list((tmp_path / "kept").iterdir()) == []
    assert_same(CASES["sft"](engine, models), made[0])


@pytest.mark.parametrize("case", ["sft, adapter", "dpo, dropout", "pretraining"])
def test_nothing_is_pickled(make, models, tmp_path, case):
    """Each file is JSON or safetensors, by its content."""
    CASES[case](make(), models)
    files = [file for file in (tmp_path / "kept").rglob("*") if file.is_file()]
    assert len(files) >= 5
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                assert opened.keys()
        else:
            assert file.suffix == ".json"
            json.loads(file.read_text("utf-8"))


def test_an_adapters_state_holds_no_frozen_weights(make, models, tmp_path):
    """The base is on disk already."""
    CASES["sft, adapter"](make(), models)
    kept = sum(file.stat().st_size for file in (tmp_path / "kept").rglob("weights*"))
    whole = (models["checkpoint"].path / "model.safetensors").stat().st_size
    assert 0 < kept < whole / 2


@pytest.mark.parametrize("case", ["sft", "dpo", "pretraining"])
def test_without_a_folder_nothing_is_kept(make, models, tmp_path, case):
    """Only the model is on disk."""
    engine = make(checkpoints=None)
    trained = CASES[case](engine, models)
    engine.forget()
    assert list(tmp_path.iterdir()) == [tmp_path / "work"]
    assert list((tmp_path / "work").iterdir()) == [trained.checkpoint.path]


def test_the_default_interval_spares_short_trainings(make, models, tmp_path):
    """In the first five minutes only the reference's values are written."""
    dpo({})(make(checkpoint_seconds=300), models)
    assert [folder.name for folder in the_folder(tmp_path).iterdir()] == ["reference"]


def test_a_negative_interval_is_refused(make):
    """The message names the option and its place."""
    with pytest.raises(InputError, match=r"checkpoint_seconds = -1 .* training_engine"):
        make(checkpoint_seconds=-1)


class TestRunningAway:
    def test_it_stops_and_says_why(self, make, models, tmp_path):
        """The message has training, step, value, limit and advice. Nothing is saved."""
        wild = dpo({"learning_rate": (0.3,), "max_log_ratio": 2.0, "max_grad_norm": 100.0})
        with pytest.raises(GateError) as raised:
            wild(make(checkpoints=None), models)
        said = str(raised.value)
        assert said.startswith("DPO of m1: the policy runs away from its reference: at step ")
        for part in ("of 5", "nats", "`dpo.max_log_ratio` = 2.0", "Nothing was saved"):
            assert part in said
        assert "Lower dpo.learning_rate or raise dpo.beta; or raise the limit" in said
        assert list((tmp_path / "work").iterdir()) == []

    def test_with_a_higher_limit_it_goes_on(self, make, models, caplog):
        """It goes on from the last step within the old limit, to the bits of an undisturbed run."""
        caplog.set_level("INFO")
        log = dpo({})(make(checkpoints=None), models).log
        limit = (log[-2]["log_ratio"] + log[-1]["log_ratio"]) / 2
        with pytest.raises(GateError):
            dpo({"max_log_ratio": limit})(make(), models)
        assert_same(dpo({})(make(), models), dpo({})(make(checkpoints=None), models))
        assert "goes on at step" in caplog.text

    def test_a_policy_at_its_reference_is_logged_as_zero(self, trainer, checkpoint):
        """The ratio then grows, and stays far below the limit for the paper's settings."""
        log = trainer.dpo(checkpoint, checkpoint, PAIRS, DPO, 1).log
        assert log[0]["log_ratio"] == pytest.approx(0, abs=1e-6)
        assert 0.001 < log[-1]["log_ratio"] < DpoParams().max_log_ratio


def test_torch_draws_go_on_where_they_stood(make, models, kill):
    """The caller's random generators are restored, also after a resumed training."""
    kill(3)
    with pytest.raises(Killed):
        CASES["sft, dropout"](make(), models)
    kill(None)
    before = torch.get_rng_state()
    CASES["sft, dropout"](make(), models)
    assert torch.equal(torch.get_rng_state(), before)


def test_pretraining_of_other_rates_starts_anew(make, models, kill, tmp_path):
    """Muon's learning rate is one of the inputs that count."""
    kill(3)
    for rate in (0.02, 0.01):
        params = PretrainParams(**{**TINY.model_dump(), "matrix_learning_rate": rate})
        with pytest.raises(Killed):
            make().pretrain(DOCUMENTS * 6, params, 1)
    assert len(list((tmp_path / "kept").iterdir())) == 2
