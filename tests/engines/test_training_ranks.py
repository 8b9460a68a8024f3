"""Training by many ranks takes the steps of one, and survives the death of a rank."""

import math
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from srlm_kedro.engines.training.params import LoraParams
from srlm_kedro.engines.training.ranks import WithoutFillers, shares
from srlm_kedro.engines.training.resume.unfinished import UnfinishedTraining
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.engines.training.trl.launch import launching, layout
from srlm_kedro.engines.training.trl.launch.job_folder import JobFolder
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Checkpoint, Example, Preference
from tests.engines.forked_ranks import ForkedRanks
from tests.engines.tuning import DPO, SFT

# 7 rows in steps of 4: the last step of an epoch's rest is not full, and ranks get fillers.
EXAMPLES = [
    Example(f"w{place} w{place + 1}", " ".join(f"w{place + one}" for one in range(2, 3 + place)))
    for place in range(1, 8)
]
PAIRS = [
    Preference(one.prompt, one.completion, "w16 w17 w16 w8 w3"[: 5 + 3 * place])
    for place, one in enumerate(EXAMPLES)
]
STEPS = {"batch_size": 4, "micro_batch_size": 2, "epochs": 2.1}
SMALL_SFT = SFT.model_copy(
    update={**STEPS, "learning_rate": 1e-3, "min_learning_rate": 1e-4, "weighting": "token"}
)
SMALL_DPO = DPO.model_copy(
    update={**STEPS, "learning_rate": (1e-3,), "min_learning_rate": (1e-4,), "nll_weight": 0.5}
)
LORA = LoraParams(rank=4, alpha=16, keep="adapter")
ROUNDING = 0.02
"""Weights of one and of many ranks differ by at most this share of the way that weights went. Adam
divides a gradient by its size, so the rounding of a tiny gradient is a large part of a step."""


@pytest.fixture
def forked():
    """Ranks are forked, which takes a tenth of the time that torchrun takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "Torchrun", ForkedRanks)
        yield


@pytest.fixture
def make(tmp_path):
    """An engine with so many ranks; if asked, it keeps every step's state."""

    def engine(ranks: int, keeps: bool = False, **options):
        return TrlEngine(
            device="cpu",
            threads=1,
            work_dir=str(tmp_path / "work"),
            checkpoints=str(tmp_path / "states") if keeps else None,
            checkpoint_seconds=0,
            ranks=ranks,
            **options,
        )

    return engine


@pytest.fixture(scope="module")
def undisturbed(checkpoint, tmp_path_factory) -> Checkpoint:
    """Trained by two ranks that were forked, none of which died."""
    work = str(tmp_path_factory.mktemp("undisturbed"))
    engine = TrlEngine(device="cpu", threads=1, work_dir=work, ranks=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "Torchrun", ForkedRanks)
        return engine.dpo(checkpoint, checkpoint, PAIRS, SMALL_DPO, 1).checkpoint


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    (file,) = checkpoint.path.glob("*.safetensors")
    return load_file(file)


def assert_same_steps(one, many) -> None:
    """Losses, gradients and log-ratios agree in every logged step."""
    for mine, others in zip(one.log, many.log, strict=True):
        for name in {"step", "loss", "grad_norm", "learning_rate", "log_ratio"} & set(mine):
            assert others[name] == pytest.approx(mine[name], rel=1e-3, abs=1e-5), name


def distance(one: Checkpoint, other: Checkpoint) -> float:
    mine, others = weights(one), weights(other)
    assert set(mine) == set(others)
    return max((mine[name] - others[name]).abs().max().item() for name in mine)


class TestShares:
    @pytest.mark.parametrize("ranks", [2, 3, 4, 7])
    @pytest.mark.parametrize("micro", [1, 2, 5])
    @pytest.mark.parametrize(("rows", "batch"), [(20, 8), (21, 8), (5, 16), (16, 16)])
    def test_each_step_reads_its_rows_once_in_full_micro_batches(self, rows, batch, micro, ranks):
        order = [(7 * place) % rows for place in range(rows)]
        read = shares(order, batch, micro, ranks)
        for start in range(0, rows, batch):
            step = order[start : start + batch]
            held = micro * ranks * math.ceil(math.ceil(len(step) / ranks) / micro)
            found, read = [row for row in read[:held] if row is not None], read[held:]
            assert Counter(found) == Counter(step)
        assert read == []

    def test_ranks_get_rows_by_turns(self):
        read = shares([9, 8, 7, 6, 5], 5, 2, 2)
        first, second = read[0:2] + read[4:6], read[2:4] + read[6:8]
        assert first == [9, 7, 5, None]
        assert second == [8, 6, None, None]

    def test_one_rank_reads_the_order_itself(self):
        assert shares([3, 1, 2], 2, 2, 1) == [3, 1, 2]

    def test_fillers_are_collated_only_where_nothing_else_is(self):
        collate = WithoutFillers(lambda rows: {"names": [row["name"] for row in rows]})
        real, filler = {"name": "a", "filler": False}, {"name": "b", "filler": True}
        assert collate([real, filler]) == {"names": ["a"], "real": 1}
        assert collate([filler, filler]) == {"names": ["b"], "real": 0}


@pytest.mark.usefixtures("forked")
class TestSameSteps:
    @pytest.mark.parametrize("weighting", ["token", "example"])
    def test_sft(self, make, checkpoint, weighting):
        params = SMALL_SFT.model_copy(update={"weighting": weighting})
        one, two = (make(ranks).sft(checkpoint, EXAMPLES, params, 1) for ranks in (1, 2))
        assert_same_steps(one, two)
        moved = distance(one.checkpoint, checkpoint)
        assert distance(one.checkpoint, two.checkpoint) < ROUNDING * moved

    @pytest.mark.parametrize("ranks", [2, 3])
    def test_dpo(self, make, checkpoint, ranks):
        one, many = (
            make(each).dpo(checkpoint, checkpoint, PAIRS, SMALL_DPO, 1) for each in (1, ranks)
        )
        assert_same_steps(one, many)
        moved = distance(one.checkpoint, checkpoint)
        assert distance(one.checkpoint, many.checkpoint) < ROUNDING * moved

    @pytest.mark.parametrize("keep", ["adapter", "merged"])
    def test_dpo_of_an_adapter(self, make, checkpoint, keep):
        """The reference is the model without the adapter, on the same sharded weights."""
        params = SMALL_DPO.model_copy(update={"lora": LORA.model_copy(update={"keep": keep})})
        one, two = (make(ranks).dpo(checkpoint, checkpoint, PAIRS, params, 1) for ranks in (1, 2))
        assert_same_steps(one, two)
        assert distance(one.checkpoint, two.checkpoint) < 1e-4
        assert two.log[0]["loss"] == pytest.approx(one.log[0]["loss"])

    def test_with_dropout_ranks_draw_other_masks_and_a_seed_the_same_ones(self, make, checkpoint):
        params = SMALL_SFT.model_copy(update={"dropout": 0.3})
        first, again, other = (
            make(2).sft(checkpoint, EXAMPLES, params, seed) for seed in (1, 1, 2)
        )
        assert distance(first.checkpoint, again.checkpoint) == 0
        assert distance(first.checkpoint, other.checkpoint) > 0


class TestDeath:
    """A training of two ranks, of which something dies after two steps."""

    @pytest.mark.parametrize("victim", ["first rank", "last rank", "torchrun"])
    def test_all_go_on_to_the_same_bits(
        self, make, checkpoint, undisturbed, monkeypatch, caplog, victim
    ):
        left = kill_once(monkeypatch, victim)
        caplog.set_level("WARNING")
        found = make(2, keeps=True).dpo(checkpoint, checkpoint, PAIRS, SMALL_DPO, 1)
        assert "a rank died; all go on from the kept state" in caplog.text
        assert distance(found.checkpoint, undisturbed) == 0
        assert left, "nothing was killed"
        assert not [number for number in left if Path(f"/proc/{number}").exists()]

    @pytest.mark.usefixtures("forked")
    def test_the_tries_have_an_end(self, make, checkpoint, monkeypatch):
        follow = launching._follow

        def following(ranks: ForkedRanks, *rest) -> None:
            ranks.kill_one()
            follow(ranks, *rest)

        monkeypatch.setattr(launching, "_follow", following)
        with pytest.raises(GateError, match="died 2 times without coming further"):
            make(2, tries=2).dpo(checkpoint, checkpoint, PAIRS, SMALL_DPO, 1)

    @pytest.mark.usefixtures("forked")
    def test_another_number_of_ranks_goes_on(self, make, checkpoint, monkeypatch, caplog):
        """From two ranks to one, and then to three; a kept optimizer is sharded anew."""
        params = SMALL_DPO.model_copy(update={"epochs": 6})
        undisturbed = make(1).dpo(checkpoint, checkpoint, PAIRS, params, 1)
        for ranks, steps in ((2, 2), (1, 8)):
            with pytest.raises(KeyboardInterrupt):
                interrupted(make(ranks, keeps=True), monkeypatch, steps).dpo(
                    checkpoint, checkpoint, PAIRS, params, 1
                )
        monkeypatch.undo()
        found = make(3, keeps=True).dpo(checkpoint, checkpoint, PAIRS, params, 1)
        moved = distance(undisturbed.checkpoint, checkpoint)
        assert distance(found.checkpoint, undisturbed.checkpoint) < ROUNDING * moved
        assert found.log[-1]["loss"] == pytest.approx(undisturbed.log[-1]["loss"], rel=1e-3)


@pytest.mark.usefixtures("forked")
class TestRefusals:
    def test_the_limit_of_a_rank_is_the_engines(self, make, checkpoint):
        params = SMALL_DPO.model_copy(update={"max_log_ratio": 1e-3})
        with pytest.raises(GateError, match=r"runs away from its reference: at step 2 of 4"):
            make(2).dpo(checkpoint, checkpoint, PAIRS, params, 1)

    def test_more_ranks_than_rows(self, make, checkpoint):
        with pytest.raises(InputError, match=r"1 of 5 ranks would have no row of a step"):
            make(5).sft(checkpoint, EXAMPLES, SMALL_SFT, 1)


def kill_once(monkeypatch, victim: str) -> list[int]:
    """Kills a process of the next training after two steps; gives those that must end too."""
    follow, left = launching._follow, []

    def following(running, folder: JobFolder, report) -> None:
        def reporting(step, steps, loss) -> None:
            report(step, steps, loss)
            if step >= 2 and not left:
                (guard,) = children(running.program.process.pid)
                (torchrun,) = children(guard)
                ranks = children(torchrun)
                left.extend([torchrun, *ranks])
                killed = {"first rank": ranks[0], "last rank": ranks[-1]}.get(victim, torchrun)
                os.kill(killed, signal.SIGKILL)

        follow(running, folder, reporting)

    monkeypatch.setattr(launching, "_follow", following)
    return left


def children(process: int) -> list[int]:
    return sorted(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def interrupted(engine: TrlEngine, monkeypatch, steps: int) -> TrlEngine:
    """The engine, whose next training is interrupted when it has kept so many steps."""
    if engine._layout.ranks == 1:
        keep = UnfinishedTraining.keep

        def keeping(self, step, *args) -> None:
            keep(self, step, *args)
            if step >= steps:
                raise KeyboardInterrupt

        monkeypatch.setattr(UnfinishedTraining, "keep", keeping)
        return engine
    follow = launching._follow

    def following(running, folder, report) -> None:
        def reporting(step, *rest) -> None:
            if step > steps:
                raise KeyboardInterrupt

        follow(running, folder, reporting)

    monkeypatch.setattr(launching, "_follow", following)
    return engine
