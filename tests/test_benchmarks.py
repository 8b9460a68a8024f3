"""The benchmarks at tiny sizes: every contestant runs, and the tables say what was measured."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import memory, peak, roofline, scheduling, targets
from benchmarks.children import told_by
from benchmarks.models import TINY, make
from benchmarks.peers import lucidrains
from benchmarks.report import Table, contest, markdown, write
from benchmarks.rounds import Contestant, Score, Setting, take_turns
from benchmarks.targets import Target
from benchmarks.work import judging, sampling

CONTESTANTS = {
    "judging": {
        targets.OURS,
        targets.OURS_BF16,
        targets.ONE_BY_ONE,
        targets.BEST_BATCH,
        targets.BEST_BATCH_BF16,
        targets.ROOFLINE,
        targets.ROOFLINE_BF16,
    },
    "training": {
        targets.OURS,
        targets.OURS_BF16,
        targets.TRL,
        targets.TRL_KEPT,
        targets.TRL_BF16,
    },
}
CONTESTANTS["sampling"] = CONTESTANTS["judging"]


@pytest.fixture(scope="module")
def environment():
    """What the command line sets is set back: variables and torch's threads."""
    before, threads = dict(os.environ), torch.get_num_threads()
    yield
    os.environ.clear()
    os.environ.update(before)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def results(tmp_path_factory, environment):
    """What `python -m benchmarks --quick` writes for generation and training."""
    folder = tmp_path_factory.mktemp("results")
    asked = ["--quick", "--device", "cpu", "--rounds", "2", "--out", str(folder)]
    command.main([*asked, "--only", ",".join(CONTESTANTS)])
    return folder


@pytest.fixture(scope="module")
def parts(results):
    return json.loads((results / "cpu.json").read_text("utf-8"))


@pytest.fixture
def setting(tmp_path):
    return Setting(rounds=3, quick=True, device="cpu", folder=tmp_path, say=lambda text: None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make(TINY, tmp_path_factory.mktemp("tiny"))


def _of(name, named):
    """The pairs that name this one."""
    return {names for names in named if name in names}


class TestRun:
    @pytest.mark.parametrize("part", CONTESTANTS)
    def test_every_contestant_is_in_the_table(self, parts, part):
        """Each table of a part has a row for each contestant that is installed."""
        expected = set(CONTESTANTS[part])
        if part != "training" and lucidrains.INSTALLED:
            expected.add(targets.LUCIDRAINS)
        for table in parts[part]["tables"]:
            assert {row["contestant"] for row in table["rows"]} == expected

    @pytest.mark.parametrize("part", CONTESTANTS)
    def test_every_one_of_ours_is_held_against_every_other(self, parts, part):
        """The ratio lies within those of its rounds."""
        for table in parts[part]["tables"]:
            names = {row["contestant"] for row in table["rows"]}
            ours = {name for name in names if name.startswith("ours")}
            pairs = {(row["ours"], row["against"]) for row in table["ratios"]}
            assert {against for _, against in pairs} == names - ours
            assert {one for one, _ in pairs} == ours
            for row in table["ratios"]:
                assert 0 < row["lowest"] <= row["times"] <= row["highest"]

    @pytest.mark.parametrize(
        ("part", "number", "named"),
        [
            ("judging", 0, targets.JUDGING),
            ("sampling", 0, targets.SAMPLING),
            ("training", 0, targets.SFT),
            ("training", 1, targets.DPO),
        ],
    )
    def test_every_target_has_its_row(self, parts, part, number, named):
        """Whom a target names is in the table, if the package is installed."""
        ratios = parts[part]["tables"][number]["ratios"]
        missing = set(named) - {(row["ours"], row["against"]) for row in ratios}
        assert missing == (set() if lucidrains.INSTALLED else _of(targets.LUCIDRAINS, named))

    @pytest.mark.parametrize("part", CONTESTANTS)
    def test_a_quick_run_is_not_judged(self, parts, part):
        """Tiny sizes meet no target and miss none, and the machine's block says what they are."""
        for table in parts[part]["tables"]:
            assert {(row["target"], row["met"]) for row in table["ratios"]} == {(None, None)}
        assert "tiny sizes" in parts[part]["machine"]["quick"]

    def test_bfloat16_is_compared_with_like(self, parts):
        """A note tells whom the targets of bfloat16 are of, and names the row of a like peer."""
        (table,) = parts["judging"]["tables"]
        pair = (targets.OURS_BF16, targets.BEST_BATCH_BF16)
        assert pair in {(row["ours"], row["against"]) for row in table["ratios"]}
        (note,) = (note for note in table["notes"] if note.startswith("Targets of"))
        assert all(f"'{name}'" in note for name in pair)

    def test_settings_of_training_are_told(self, parts):
        """Notes name each of TRL's contestants, and who writes a checkpoint."""
        for table in parts["training"]["tables"]:
            notes = " ".join(table["notes"])
            assert all(f"'{each}'" in notes for each in CONTESTANTS["training"] if "TRL" in each)
            assert "TRL writes no checkpoint; ours writes one" in notes

    def test_missing_package_is_said(self, parts):
        """Where the optional package is not installed, a note says that it is left out."""
        notes = " ".join(parts["judging"]["tables"][0]["notes"])
        assert (lucidrains.PACKAGE in notes) is not lucidrains.INSTALLED

    def test_the_page_is_written_from_the_json(self, parts, results):
        """The Markdown file is what the JSON beside it renders to."""
        assert (results / "cpu.md").read_text("utf-8") == markdown(parts)

    def test_the_machine_is_described_without_its_name(self, parts):
        """Processor, threads and date are told; no path and no host name."""
        machine = parts["judging"]["machine"]
        assert {"processor", "instructions", "torch", "threads", "date"} <= set(machine)
        assert os.uname().nodename not in json.dumps(machine)
        assert "/" not in json.dumps(machine)


class TestCommandLine:
    def test_parts_come_in_their_own_order(self):
        """`--only` picks parts, whatever order they are named in."""
        asked = command._parser().parse_args(["--only", "memory,judging"])
        assert asked.only == ["judging", "memory"]

    def test_unknown_part_is_refused(self, capsys):
        """A part that does not exist is named, with those that do."""
        with pytest.raises(SystemExit):
            command.main(["--only", "judgin"])
        assert "no part judgin; there are judging, sampling" in capsys.readouterr().err

    def test_a_quick_run_leaves_the_results_alone(self):
        """Unless it is told where, it writes into a new folder, and a measured run does not."""
        assert command._parser().parse_args(["--quick"]).out is None
        quick, measured = command._folder(quick=True), command._folder(quick=False)
        quick.rmdir()  # It is there, and empty.
        assert measured.parts[-2:] == ("benchmarks", "results")
        assert measured not in (quick, *quick.parents)

    @pytest.mark.parametrize("part", command.PARTS)
    def test_every_part_can_be_called(self, part):
        """What stands for a part is a function of a module that is there."""
        assert callable(command._entry(part))


class TestRounds:
    def test_everybody_starts_a_round_in_turn(self, setting):
        """The order is rotated by one each round, the one that warms up included."""
        seen = []
        names = ["a", "b", "c"]
        players = [Contestant(name, lambda name=name: seen.append(name) or 1.0) for name in names]
        take_turns(players, setting)
        assert "".join(seen) == "abcbcacababc"

    def test_the_first_round_does_not_count(self, setting):
        """As many figures as rounds were asked for."""
        (score,) = take_turns([Contestant("a", lambda: 1.0)], setting)
        assert len(score.rates) == 3

    def test_slow_ones_do_less(self, setting):
        """One may warm up with less work, and stay away from the last rounds."""
        seen = []
        slow = Contestant("a", lambda: seen.append("work") or 1.0, lambda: seen.append("warm"), 2)
        one, other = take_turns([slow, Contestant("b", lambda: 1.0)], setting)
        assert seen == ["warm", "work", "work"]
        assert (len(one.rates), len(other.rates)) == (2, 3)


class TestScheduling:
    @pytest.mark.parametrize("scenario", scheduling.SCENARIOS, ids=lambda one: one.name)
    def test_all_is_drawn_and_nothing_is_faster_than_the_bound(self, scenario):
        """64 replicas with two shards each and more; slow and lost ones keep nobody waiting."""
        makespan, bound = scheduling.simulate(scenario, requests=100_000, completions=128)
        assert 1 <= makespan / bound < 1.2

    def test_without_chance_it_is_known_by_hand(self, monkeypatch):
        """4 shards of 100 tokens on 2 replicas of 10 tokens a second."""
        monkeypatch.setattr(scheduling, "RATE", 10.0)
        monkeypatch.setattr(scheduling, "_MEAN", 50.0)
        monkeypatch.setattr(scheduling, "_SPREAD", 0.0)
        two = scheduling.Scenario("two", replicas=2)
        assert scheduling.simulate(two, requests=8, completions=2) == pytest.approx((20, 20))


class TestDriver:
    def test_all_stages_are_measured_in_a_process_of_their_own(self, tmp_path):
        """From prompts to pairs, as the real stages write them."""
        found = told_by("benchmarks.driver", [40, str(tmp_path / "driver")])
        assert list(found) == ["responses", "judging", "rewards", "pairs"]
        assert all(one["seconds"] > 0 and 0.05 < one["peak"] < 2 for one in found.values())
        judgements = pd.read_parquet(tmp_path / "driver/judgements.parquet")
        assert len(judgements) == 40 * 4 * 3
        assert judgements["score"].notna().all()
        assert len(pd.read_parquet(tmp_path / "driver/pairs.parquet")) > 30
        assert list((tmp_path / "driver/shards").iterdir()) == []


class TestReport:
    SCORES = (Score("ours", (10.0, 30.0, 20.0)), Score("theirs", (5.0, 5.0, 4.0)))

    def test_ratio_and_its_spread(self):
        """Each round has its ratio: the median is told, the lowest and the highest beside."""
        table = contest("race", self.SCORES, "prompt", {("ours", "theirs"): Target(5.5)})
        assert table.ratios == [
            {
                "ours": "ours",
                "against": "theirs",
                "times": 5.0,
                "lowest": 2.0,
                "highest": 6.0,
                "target": "≥ 5.5",
                "met": False,
            }
        ]

    def test_ratios_of_who_ran_fewer_rounds(self):
        """The rounds that both were in count: a machine that was slow later befell one alone."""
        scores = [Score("ours", (10.0, 15.0, 1.0)), Score("theirs", (5.0, 5.0))]
        (ratio,) = contest("race", scores, "prompt").ratios
        assert (ratio["times"], ratio["lowest"], ratio["highest"]) == (2.5, 2.0, 3.0)

    def test_one_may_stand_beside_one_of_ours(self):
        """A figure of one number format is not compared with ours of another."""
        ours = [Score("ours", (1.0,)), Score("ours, bfloat16", (2.0,))]
        floor = Score("roofline, bfloat16", (4.0,), beside="ours, bfloat16")
        (ratio,) = contest("race", [*ours, floor], "token").ratios
        assert (ratio["ours"], ratio["times"]) == ("ours, bfloat16", 0.5)

    def test_missed_target_is_shown(self):
        """The page says no where a target was missed."""
        table = contest("race", self.SCORES, "prompt", {("ours", "theirs"): Target(5.5)})
        page = markdown({"a": {"machine": {}, "tables": [vars(table)]}})
        assert "| ours | theirs | 5 | 2 | 6 | ≥ 5.5 | **no** |" in page

    def test_a_later_run_keeps_the_other_parts(self, tmp_path):
        """Running one part again replaces that part alone."""
        old, new = Table("old", [{"a": 1}]), Table("new", [{"a": 2}])
        write({"cores": 1}, {"one": [old], "two": [old]}, tmp_path, "cpu")
        write({"cores": 2}, {"two": [new]}, tmp_path, "cpu")
        kept = json.loads((tmp_path / "cpu.json").read_text("utf-8"))
        assert [kept[part]["tables"][0]["title"] for part in ("one", "two")] == ["old", "new"]
        page = (tmp_path / "cpu.md").read_text("utf-8")
        assert "## Machine of one" in page
        assert "## Machine of two" in page

    @pytest.mark.parametrize(("figure", "met"), [(1.05, True), (1.06, False)])
    def test_upper_bound(self, figure, met):
        """A target may be a bound from above."""
        assert Target(1.05, at_least=False).met(figure) is met


class TestWork:
    def test_judging_shares_its_prefix(self, checkpoint):
        """All prompts begin with the rubric, and lengths are those that were asked for."""
        work = judging(checkpoint, TINY, responses=5, quick=True)
        rows = work.ids()
        assert len({tuple(ids[: work.prefix]) for ids in rows}) == 1
        assert len({ids[work.prefix] for ids in rows}) > 1
        assert [len(ids) - work.prefix for ids in rows] == [5, 6, 7, 8, 9]

    def test_sampling_lengths(self, checkpoint):
        """Prompts have their lengths with the chat's header in them."""
        work = sampling(checkpoint, TINY, prompts=5, quick=True)
        assert [len(ids) for ids in work.ids()] == [5, 6, 7, 8, 9]
        assert work.drawn(5) == 5 * 4 * 3


class TestRoofline:
    def test_best_of_two_moments(self):
        """Each rate is the higher one of the two."""
        before = roofline.Rates("float32", operations=2.0, reads=5.0)
        after = roofline.Rates("float32", operations=3.0, reads=4.0)
        assert roofline.best(before, after) == roofline.Rates("float32", 3.0, 5.0)

    def test_floor_counts_what_is_shared_once(self, checkpoint):
        """With memory for nothing, the floor is the operations over the rate of products."""
        work = judging(checkpoint, TINY, responses=2, quick=True)
        assert [len(ids) for ids in work.ids()] == [12 + 5, 12 + 9]
        tokens = 12 + (5 + 9) + 6 * 2
        seen = 12 * 13 / 2 + (5 * 12 + 5 * 6 / 2) + (9 * 12 + 9 * 10 / 2)
        seen += 3 * ((12 + 5 + 1) + (12 + 9 + 1)) + 3 * ((12 + 5 + 2) + (12 + 9 + 2))
        layers = 2 * (4 * 32 * 32 + 3 * 32 * 64) * tokens * 2 + 4 * 2 * 32 * seen
        head = 2 * 128 * 32 * (2 + 6 * 2)
        rates = roofline.Rates("float32", operations=1.0, reads=float("inf"))
        assert roofline.floor(work, rates) == pytest.approx(layers + head)

    def test_bytes_of_a_step(self, checkpoint):
        """With products for nothing, each phase reads the weights once and what it sees of keys."""
        work = judging(checkpoint, TINY, responses=2, quick=True)
        layers, head = 2 * (4 * 32 * 32 + 3 * 32 * 64), 128 * 32
        numbers = layers + 3 * (layers + head)
        numbers += 2 * 2 * 32 * (12 + (12 + 14) + (12 + 14 + 6) + (12 + 14 + 12))
        rates = roofline.Rates("bfloat16", operations=float("inf"), reads=1.0)
        assert roofline.floor(work, rates) == pytest.approx(2 * numbers)


@pytest.mark.skipif(not peak.is_kept("cpu"), reason="the system keeps no peak to set back")
def test_peak_memory_is_held_against_the_budget(setting):
    """A child process judges; its peak above the loaded model is within the budget."""
    (table,) = memory.run(setting)
    (row,) = table.rows
    assert 0 <= row["peak, MiB"] == pytest.approx(row["highest / budget"] * row["budget, MiB"])
    assert row["tokens/s"] > 0
    assert row["met"] is True


def test_nothing_heavy_before_the_threads_are_set():
    """The command line sets the threads before torch is imported."""
    code = "import sys, benchmarks.__main__; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
