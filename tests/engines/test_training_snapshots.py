"""States on disk: written as a whole, checked for damage, never pickled, and deleted in time."""

import json
import logging
import math
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from srlm_kedro.engines.training.ranks import Ranks
from srlm_kedro.engines.training.resume import snapshots, unfinished
from srlm_kedro.engines.training.resume.shards import complete
from srlm_kedro.engines.training.resume.snapshots import DamagedError, Snapshot, write
from srlm_kedro.engines.training.resume.unfinished import StateStore, UnfinishedTraining
from srlm_kedro.records import Checkpoint

STATE = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "groups": [{"betas": (0.9, 0.999)}]},
    "plain": [None, True, 0.1 + 0.2, math.inf, "x", (1, (2, "three"))],
}


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


class TestSnapshot:
    @pytest.mark.parametrize("shard", [2**28, 1])
    def test_what_is_read_is_what_was_written(self, tmp_path, monkeypatch, shard):
        """Keys, tuples, precisions and every bit agree, for any split into files."""
        monkeypatch.setattr(snapshots, "_SHARD", shard)
        write(tmp_path / "here", STATE)
        found = Snapshot(tmp_path / "here")
        assert all(same(found[part], STATE[part]) for part in STATE)
        assert len(list((tmp_path / "here").glob("weights-*"))) == (1 if shard > 1 else 2)

    def test_tensors_outlive_their_files(self, tmp_path):
        """A newer state may replace the one that was read."""
        write(tmp_path / "here", STATE)
        weights = Snapshot(tmp_path / "here")["weights"]
        for file in (tmp_path / "here").glob("*.safetensors"):
            file.write_bytes(b"\0" * file.stat().st_size)
        assert same(weights, STATE["weights"])

    def test_other_things_are_refused(self, tmp_path):
        """They would have to be pickled. Nothing is left on disk."""
        with pytest.raises(TypeError, match="PosixPath"):
            write(tmp_path / "here", {"part": {"path": Path("x")}})
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["weights-0.safetensors", "state.json", "sums.json"])
    @pytest.mark.parametrize("harm", ["cut", "gone", "flipped"])
    def test_damage_is_seen(self, tmp_path, name, harm):
        """It may be in any file."""
        write(tmp_path / "here", STATE)
        file = tmp_path / "here" / name
        data = file.read_bytes()
        file.write_bytes(data[:-9] if harm == "cut" else data[:-9] + b"\x17" + data[-8:])
        if harm == "gone":
            file.unlink()
        with pytest.raises(DamagedError):
            Snapshot(tmp_path / "here")

    def test_sums_of_another_form_are_damage(self, tmp_path):
        """They are valid JSON, but no state was written like that."""
        write(tmp_path / "here", STATE)
        (tmp_path / "here" / "sums.json").write_text("[]")
        with pytest.raises(DamagedError):
            Snapshot(tmp_path / "here")


class TestUnfinished:
    @pytest.fixture
    def clock(self, monkeypatch):
        """Time passes only if a test adds to `clock[0]`."""
        now = [0.0]
        monkeypatch.setattr(unfinished.time, "monotonic", lambda: now[0])
        return now

    def test_due_when_the_interval_is_over(self, tmp_path, clock):
        """The interval counts from the beginning, then from the last state."""
        one = UnfinishedTraining("DPO of m1", tmp_path / "x", seconds=300)
        for begin in (0, 300):
            clock[0] = begin + 299
            assert not one.due()
            clock[0] = begin + 300
            assert one.due()
            one.keep(1, 9, {})

    def test_writing_takes_three_per_cent_at_most(self, tmp_path, clock, monkeypatch):
        """After a state that took 20 seconds, the next waits 660 seconds."""

        def slow(folder, parts, ranks):
            folder.mkdir(parents=True)
            clock[0] += 20

        monkeypatch.setattr(unfinished, "write_parts", slow)
        one = UnfinishedTraining("DPO of m1", tmp_path / "x", seconds=300)
        clock[0] = 300
        one.keep(1, 9, {})
        clock[0] = 320 + 659
        assert not one.due()
        clock[0] = 320 + 660
        assert one.due()

    def test_zero_is_every_step(self, tmp_path, clock, monkeypatch):
        """The time for writing does not matter. Without a folder no state is ever due."""

        def slow(folder, parts, ranks):
            folder.mkdir(parents=True)
            clock[0] += 20

        monkeypatch.setattr(unfinished, "write_parts", slow)
        one = UnfinishedTraining("DPO of m1", tmp_path / "x", seconds=0)
        one.keep(1, 9, {})
        assert one.due()
        assert not UnfinishedTraining("DPO of m1", None, seconds=0).due()

    def test_the_older_goes_when_the_newer_stands(self, tmp_path, monkeypatch):
        """If a state cannot be written, the one before it stays."""
        one = UnfinishedTraining("DPO of m1", tmp_path, seconds=0)
        one.keep(9, 20, STATE)
        with pytest.raises(TypeError):
            one.keep(10, 20, {"part": object()})
        assert [folder.name for folder in tmp_path.iterdir()] == ["step-9"]
        one.keep(10, 20, STATE)
        assert [folder.name for folder in tmp_path.iterdir()] == ["step-10"]

    def test_a_full_disk_stops_nothing(self, tmp_path, monkeypatch, caplog):
        """A warning is logged, and the earlier state stays."""
        one = UnfinishedTraining("DPO of m1", tmp_path, seconds=0)
        one.keep(9, 20, STATE)

        def full(*args):
            raise OSError("No space left on device")

        monkeypatch.setattr(snapshots, "save_file", full)
        one.keep(10, 20, STATE)
        assert [folder.name for folder in tmp_path.iterdir()] == ["step-9"]
        assert "step-10 could not be kept" in caplog.text

    def test_the_newest_whole_one_counts(self, tmp_path, caplog):
        """States that are damaged, half-written or lack a rank are logged. 10 is newer than 9."""
        caplog.set_level(logging.INFO)
        one = UnfinishedTraining("DPO of m1", tmp_path, seconds=0)
        for step in (9, 10, 11, 12):
            folder = tmp_path / f"step-{step}"
            write(folder / "rank-0", {"reached": {"step": step, "steps": 20}})
            if step < 12:
                complete(folder, Ranks())
        (tmp_path / "step-11" / "rank-0" / "state.json").write_text("{")
        (tmp_path / "step-10" / "writing-x").mkdir()
        assert one.newest()["reached"]["step"] == 10
        said = "\n".join(caplog.messages)
        assert "DPO of m1: goes on at step 10 of 20." in caplog.messages
        assert "step-11 is damaged and is skipped: state.json: not as written" in said
        assert "step-12 is damaged and is skipped: " in said
        assert "writing-x was never finished" in said

    def test_a_damaged_one_is_replaced(self, tmp_path):
        """The same step writes its state again."""
        one = UnfinishedTraining("DPO of m1", tmp_path, seconds=0)
        one.keep(3, 20, STATE)
        (tmp_path / "step-3" / "rank-0" / "sums.json").unlink()
        one.keep(3, 20, STATE)
        assert one.newest()["reached"]["step"] == 3


class TestStateStore:
    @pytest.fixture
    def store(self, tmp_path):
        return StateStore(tmp_path / "store", seconds=0)

    def kept(self, tmp_path) -> int:
        return len(list((tmp_path / "store").glob("*/step-*")))

    def test_forget_empties_what_is_through(self, store, tmp_path):
        """States of an interrupted training stay, and so do other files."""
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "README").touch()
        with store.training("SFT of m0", seed=1) as one:
            one.keep(1, 2, {})
        with suppress(KeyboardInterrupt), store.training("SFT of m0", seed=2) as one:
            one.keep(1, 2, {})
            raise KeyboardInterrupt
        assert self.kept(tmp_path) == 2
        store.forget()
        assert self.kept(tmp_path) == 1
        assert (tmp_path / "store" / "README").exists()

    def test_each_thread_forgets_its_own(self, store, tmp_path):
        """The models of other threads may not be saved yet."""
        with store.training("SFT of m0", seed=1) as one:
            one.keep(1, 2, {})
        other = threading.Thread(target=store.forget)
        other.start()
        other.join()
        assert self.kept(tmp_path) == 1
        store.forget()
        assert self.kept(tmp_path) == 0

    def test_found_again_by_what_decides(self, store):
        """The order of the inputs does not matter. Any other input is another training."""
        with store.training("SFT of m0", seed=1, rows=["a"]) as one:
            one.keep(1, 2, {})
        with store.training("SFT of m0", rows=["a"], seed=1) as again:
            assert again.newest()
        for other in ({"seed": 2, "rows": ["a"]}, {"seed": 1, "rows": ["b"]}):
            with store.training("SFT of m0", **other) as one:
                assert one.newest() is None

    def test_models_count_by_what_they_hold(self, tmp_path):
        """Name, place and time do not count: a copied folder is the same model."""
        names = []
        for place, weights in (("one", "w"), ("two", "w"), ("three", "v")):
            folder = tmp_path / place
            folder.mkdir()
            (folder / "model.safetensors").write_text(weights)
            (folder / "README.md").write_text(place)
            names.append(unfinished.digest(model=Checkpoint(folder, "m1")))
        assert names[0] == names[1] != names[2]

    def test_an_adapters_base_counts(self, tmp_path):
        """The same adapter on another base is another model."""
        base, adapter = tmp_path / "base", tmp_path / "adapter"
        base.mkdir()
        adapter.mkdir()
        named = {"base_model_name_or_path": str(base)}
        (adapter / "adapter_config.json").write_text(json.dumps(named))
        names = set()
        for weights in ("w", "v"):
            (base / "model.safetensors").write_text(weights)
            names.add(unfinished.digest(model=Checkpoint(adapter, "m1")))
        assert len(names) == 2

    def test_another_librarys_version_starts_anew(self, monkeypatch):
        """It may compute other bits, or mean another state."""
        before = unfinished.digest(seed=1)
        monkeypatch.setattr(unfinished.importlib.metadata, "version", lambda name: "0")
        assert unfinished.digest(seed=1) != before
