"""Shards of completions: kept as they are sampled, found again, deleted when results are saved."""

import json
import math
import struct
import threading

import pytest

from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.engines.generation.watching import watched_by
from srlm_kedro.errors import GateError
from srlm_kedro.parts import Made
from srlm_kedro.records import Checkpoint

SAMPLING = Sampling(n=2)
REQUESTS = [Request(str(number), f"prompt {number}") for number in range(10)]


class Drawer:
    """An engine that remembers what it was asked, and dies at a shard."""

    def __init__(self, dies_at: int | None = None):
        self.shards: list[list[str]] = []
        self.dies_at = dies_at

    def generate(self, model, requests, sampling, seed):
        if len(self.shards) == self.dies_at:
            raise KeyboardInterrupt
        self.shards.append([request.id for request in requests])
        texts = [[f"{r.id} {k} {seed} \ud800\x00" for k in range(sampling.n)] for r in requests]
        return [[Completion(text, 3, "stop") for text in row] for row in texts]

    def choice_logprobs(self, model, requests, choices):
        if len(self.shards) == self.dies_at:
            raise KeyboardInterrupt
        self.shards.append([request.id for request in requests])
        return [[_odd_number(request, names) for names in choices] for request in requests]

    def release(self):
        self.released = True


def _odd_number(request, names):
    """Numbers of all kinds: short digits would not give them back."""
    number = int(request.id)
    kinds = {7: math.nan, 8: -math.inf, 9: -5e-324}
    return kinds.get(number, -math.sqrt(number + len(names)) / 3)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "m1"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return Checkpoint(folder, "m1")


@pytest.fixture
def shards(tmp_path):
    return tmp_path / "shards"


def sharded(drawer, folder, recipe="a", completions=6):
    return ShardedEngine(drawer, recipe, folder, completions)


def drawn(model, folder, **options):
    """What a run samples now, and which requests it asks for."""
    drawer = Drawer()
    rows = sharded(drawer, folder, **options).generate(model, REQUESTS, SAMPLING, 1)
    return list(rows), [name for shard in drawer.shards for name in shard]


def test_who_watches_is_told_of_what_an_earlier_run_drew(model, shards):
    """So a judging that goes on is not given up for what it draws now alone."""

    told = []

    class Witness:
        is_open = True

        def begin(self, key):
            raise AssertionError("nothing is drawn")

        def end(self, key, completion):
            told.append((key, completion.text))

    rows = sharded(Drawer(), shards).generate(model, REQUESTS, SAMPLING, 1)
    with watched_by(Witness()):
        assert drawn(model, shards) == (rows, [])
    assert told == [
        ((request.id, sample), completion.text)
        for request, row in zip(REQUESTS, rows, strict=True)
        for sample, completion in enumerate(row)
    ]


def test_rows_come_in_the_order_of_the_requests(model, shards):
    """Three requests of two completions fill a shard of six; texts of any kind come back."""
    drawer = Drawer()
    rows = sharded(drawer, shards).generate(model, REQUESTS, SAMPLING, 1)
    assert rows == Drawer().generate(model, REQUESTS, SAMPLING, 1)
    assert drawer.shards == [["0", "1", "2"], ["3", "4", "5"], ["6", "7", "8"], ["9"]]


def test_rows_are_read_when_they_are_asked_for(model, shards):
    """One by one, as a slice, or all of them; what is gone by then is told."""
    rows = sharded(Drawer(), shards).generate(model, REQUESTS, SAMPLING, 1)
    expected = Drawer().generate(model, REQUESTS, SAMPLING, 1)
    assert len(rows) == len(expected)
    assert [rows[place] for place in range(-10, 10)] == 2 * expected
    assert rows[2:8:3] == expected[2:8:3]
    assert rows != expected[:-1]
    assert rows != [*expected[:-1], expected[0]]
    with pytest.raises(IndexError):
        rows[10]
    for file in shards.iterdir():
        file.unlink()
    with pytest.raises(GateError, match=r"gone or damaged.*the same command again"):
        rows[0]


def test_requests_are_made_shard_by_shard(model, shards):
    """The long prompts of all requests are never in memory together."""
    sizes = []

    class Recorded(Made):
        def __getitem__(self, place):
            found = super().__getitem__(place)
            sizes.append(len(found))
            return found

        def __iter__(self):
            raise AssertionError("all are asked for")

    requests = Recorded(len(REQUESTS), REQUESTS.__getitem__)
    rows = sharded(Drawer(), shards).generate(model, requests, SAMPLING, 1)
    assert rows == Drawer().generate(model, REQUESTS, SAMPLING, 1)
    assert max(sizes) == 3


def test_a_request_is_never_cut(model, shards):
    """If a request has more completions than a shard holds, each request is a shard."""
    drawer = Drawer()
    sharded(drawer, shards, completions=1).generate(model, REQUESTS, SAMPLING, 1)
    assert len(drawer.shards) == len(REQUESTS)


@pytest.mark.parametrize("died_at", range(4))
def test_what_was_drawn_before_a_kill_is_not_drawn_again(model, shards, died_at, tmp_path):
    """At most one shard is lost."""
    with pytest.raises(KeyboardInterrupt):
        sharded(Drawer(died_at), shards).generate(model, REQUESTS, SAMPLING, 1)
    rows, asked = drawn(model, shards)
    assert asked == [request.id for request in REQUESTS[3 * died_at :]]
    assert rows == drawn(model, tmp_path / "elsewhere")[0]


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: b"", lambda text: b"\xff"])
def test_a_damaged_shard_is_drawn_again(model, shards, damage):
    """Bytes that were cut off or changed are never taken for completions."""
    rows, _ = drawn(model, shards)
    file = sorted(shards.iterdir())[0]
    file.write_bytes(damage(file.read_bytes()))
    again, asked = drawn(model, shards)
    assert again == rows
    assert len(asked) in (1, 3)


def test_a_flipped_digit_is_seen(model, shards):
    """A shard can be readable and wrong, so its checksum counts."""
    rows, _ = drawn(model, shards)
    file = sorted(shards.iterdir())[0]
    content = file.read_bytes()
    file.write_bytes(content.replace(b", 3, ", b", 4, "))
    assert json.loads(file.read_bytes().partition(b"\n")[2]) != json.loads(
        content.partition(b"\n")[2]
    )
    assert drawn(model, shards)[0] == rows


def test_another_question_finds_nothing(model, shards):
    """Model, recipe, sampling, seed and requests decide whether a shard fits."""
    drawn(model, shards)
    assert drawn(model, shards)[1] == []
    assert len(drawn(model, shards, recipe="b")[1]) == len(REQUESTS)
    for sampling, seed in [(Sampling(n=2, temperature=0.5), 1), (SAMPLING, 2)]:
        drawer = Drawer()
        sharded(drawer, shards).generate(model, REQUESTS, sampling, seed)
        assert len(drawer.shards) == 4
    (model.path / "model.safetensors").write_bytes(b"others")
    assert len(drawn(model, shards)[1]) == len(REQUESTS)


def bits(rows):
    """Equal only for equal bits, and NaN is equal to itself."""
    return [[struct.pack("<d", value) for value in row] for row in rows]


@pytest.mark.parametrize("died_at", range(3))
def test_numbers_come_back_with_all_their_bits(model, shards, died_at):
    """After a kill at most one shard is read again; NaN and infinity are kept too."""
    choices = (("Yes", "yes"), ("No",))
    with pytest.raises(KeyboardInterrupt):
        sharded(Drawer(died_at), shards, completions=4).choice_logprobs(model, REQUESTS, choices)
    drawer = Drawer()
    expected = bits(drawer.choice_logprobs(model, REQUESTS, choices))
    for asked in (REQUESTS[4 * died_at :], []):
        drawer.shards = []
        rows = sharded(drawer, shards, completions=4).choice_logprobs(model, REQUESTS, choices)
        assert bits(rows) == expected
        assert [name for shard in drawer.shards for name in shard] == [one.id for one in asked]


def test_other_answers_find_no_numbers(model, shards):
    """The spellings decide whether a shard fits, and no completion is taken for a number."""
    drawn(model, shards)
    drawer = Drawer()
    for choices in ((("Yes",), ("No",)), (("yes",), ("No",)), (("Yes",),)):
        engine = sharded(drawer, shards)
        engine.choice_logprobs(model, REQUESTS, choices)
    assert len(drawer.shards) == 6
    engine.forget()
    assert len(list(shards.iterdir())) == 8


def test_saved_shards_are_forgotten(model, shards):
    """An engine deletes the shards that it was asked for, found ones too; others stay."""
    drawn(model, shards)
    other = sharded(Drawer(), shards, recipe="b")
    other.generate(model, REQUESTS, SAMPLING, 1)
    assert len(list(shards.iterdir())) == 8
    other.forget()
    assert len(list(shards.iterdir())) == 4
    engine = sharded(Drawer(), shards)
    engine.generate(model, REQUESTS, SAMPLING, 1)
    engine.forget()
    assert list(shards.iterdir()) == []


def test_a_thread_forgets_its_own_alone(model, shards):
    """Another thread may run another node with the same engine."""
    engine = sharded(Drawer(), shards)
    engine.generate(model, REQUESTS, SAMPLING, 1)
    thread = threading.Thread(target=engine.forget)
    thread.start()
    thread.join()
    assert len(list(shards.iterdir())) == 4


def test_release_reaches_the_engine(shards):
    """The engine behind the shards frees the model's memory."""
    drawer = Drawer()
    sharded(drawer, shards).release()
    assert drawer.released
