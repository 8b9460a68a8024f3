"""A model in a GGUF file: what is made of it, once, and what is refused."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node, Pipeline

from srlm_kedro.datasets import gguf
from srlm_kedro.datasets.gguf import CONVERTER
from srlm_kedro.datasets.hub import GivenModelDataset
from srlm_kedro.datasets.model_size import ModelSizeDataset
from srlm_kedro.engines.gguf.header import read_header
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.digests import file_digest
from srlm_kedro.freshness.manifest import output_fault
from srlm_kedro.freshness.recipe import recipe_of
from srlm_kedro.running.input_faults import data_faults
from tests.unit.datasets.test_checkpoint import model_folder
from tests.unit.datasets.test_packages import write_package

pytest.importorskip("gguf")

from tests.gguf_files import write_gguf

ROOT = Path(__file__).parents[3]
IN_A_PROCESS = """
import sys, os, time
from pathlib import Path
from srlm_kedro.datasets import gguf
from tests.unit.datasets.test_checkpoint import model_folder

def convert(file, header, folder, dtype):
    with open({log!r}, "a") as log:
        log.write("made\\n")
    if {dies}:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        os._exit(9)
    time.sleep(0.5)
    model_folder(folder)
    return "F32 (1)"

gguf.load_obj = lambda name: convert
print(gguf.GgufModel({file!r}, "m0", {folder!r}).load().path)
"""


@pytest.fixture
def file(tmp_path):
    return write_gguf(tmp_path / "tiny.gguf", "Q8_0")


@pytest.fixture
def made(monkeypatch):
    """A converter that writes a small folder at once; the fixture lists what it was asked for."""
    asked = []

    def convert(file, header, folder, dtype):
        asked.append((file, dtype))
        model_folder(folder, value=len(asked))
        return "Q8_0 (15), F32 (5)"

    monkeypatch.setattr(gguf, "load_obj", {f"{CONVERTER}.convert": convert}.__getitem__)
    return asked


def given(model, tmp_path, **kept):
    return GivenModelDataset("m0", str(model), gguf={"folder": str(tmp_path / "kept"), **kept})


def entry_of(model, tmp_path):
    """The catalog's entry for a given model."""
    kept = {"folder": str(tmp_path / "kept")}
    kind = "srlm_kedro.datasets.hub.GivenModelDataset"
    return {"type": kind, "name": "m0", "model": str(model), "gguf": kept}


def test_a_file_is_a_model_as_a_folder_is(file, tmp_path):
    """The real converter gives a checkpoint that the catalog accepts, named as its entry says."""
    model = given(file, tmp_path).load()
    assert model.name == "m0"
    assert model.path.parent == tmp_path / "kept"
    assert GivenModelDataset("m0", str(model.path)).load() == model


def test_it_is_made_once(file, tmp_path, made):
    """Other runs and other places of the file find it; another precision is another model."""
    first = given(file, tmp_path).load()
    (tmp_path / "moved").mkdir()
    elsewhere = file.rename(tmp_path / "moved" / "renamed.gguf")
    assert given(elsewhere, tmp_path).load() == first
    assert (
        GivenModelDataset(
            "m0", filepath=str(elsewhere), gguf={"folder": str(tmp_path / "kept")}
        ).load()
        == first
    )
    assert made == [(file, "float32")]
    half = given(elsewhere, tmp_path, dtype="bfloat16").load()
    assert half.path != first.path
    assert made[1:] == [(elsewhere, "bfloat16")]


def test_it_is_made_again_if_the_file_changes(file, tmp_path, made):
    """The folder is another one, and the first stays for whoever uses it."""
    first = given(file, tmp_path).load()
    write_gguf(file, "Q8_0", seed=1)
    assert given(file, tmp_path).load().path != first.path
    assert first.path.is_dir()
    assert len(made) == 2


def test_it_is_made_again_if_the_code_changes(file, tmp_path, made, monkeypatch):
    """In its place: what names the folder, such as an adapter, still finds it."""
    first = given(file, tmp_path).load()
    monkeypatch.setattr(gguf, "made_by", lambda module: {f"code of {module}": "new"})
    assert given(file, tmp_path).load() == first
    assert len(made) == 2


def test_it_is_made_again_if_it_was_damaged(file, tmp_path, made):
    """A flipped byte is noticed before the model is used."""
    folder = given(file, tmp_path).load().path
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    given(file, tmp_path).load()
    assert len(made) == 2
    assert output_fault(folder) is None


def test_a_kill_leaves_no_model(file, tmp_path):
    """The process dies half-way; the next one makes the whole model."""
    log = tmp_path / "log"
    dies, lives = (script(file, tmp_path, log, dies) for dies in (True, False))
    killed = run(dies)
    killed.communicate()
    assert killed.returncode == 9
    kept = tmp_path / "kept"
    assert [path.name for path in kept.iterdir() if not path.name.startswith(".")] == []
    done = run(lives)
    path = Path(done.communicate()[0].strip())
    assert output_fault(path) is None
    assert (path / "model.safetensors").read_bytes() != b"half"
    hidden = [path.name for path in kept.iterdir() if path.name.startswith(".")]
    assert [name for name in hidden if not name.endswith(".lock")] == []


def test_two_processes_make_it_once(file, tmp_path):
    """The second waits for the first and takes what it made."""
    log = tmp_path / "log"
    runs = [run(script(file, tmp_path, log, False)) for _ in range(2)]
    paths = {one.communicate()[0].strip() for one in runs}
    assert [one.returncode for one in runs] == [0, 0]
    assert len(paths) == 1
    assert log.read_text() == "made\n"


def test_a_failed_conversion_leaves_nothing(file, tmp_path, monkeypatch):
    """Neither a folder nor a scratch folder."""

    def convert(file, header, folder, dtype):
        folder.mkdir()
        raise InputError("no")

    monkeypatch.setattr(gguf, "load_obj", lambda name: convert)
    with pytest.raises(DatasetError):
        given(file, tmp_path).load()
    assert [path for path in (tmp_path / "kept").iterdir() if path.is_dir()] == []


def test_the_content_counts_and_not_the_place(file, tmp_path):
    """The fingerprint needs no conversion; precision and content change it."""
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(file.read_bytes())
    print_ = given(file, tmp_path).fingerprint()
    assert print_ == given(copy, tmp_path).fingerprint()
    assert print_ != given(file, tmp_path, dtype="bfloat16").fingerprint()
    write_gguf(copy, "Q8_0", seed=1)
    assert print_ != given(copy, tmp_path).fingerprint()
    assert not (tmp_path / "kept").exists()


def test_the_converting_code_counts_for_what_is_made_of_it(file, tmp_path):
    """And its libraries do; a folder is taken as it is, so nothing more counts for it."""
    node = Node(json.dumps, ["m0.model"], "out", name="use")  # code that reaches no GGUF
    folder = GivenModelDataset("m0", str(model_folder(tmp_path / "m")))
    of_the_file, of_the_folder = (
        recipe_of(node, DataCatalog({"m0.model": model, "out": MemoryDataset()}))
        for model in (given(file, tmp_path), folder)
    )
    assert f"code of {CONVERTER}" in of_the_file
    assert "library gguf" in of_the_file
    assert not any("gguf" in name for name in of_the_folder)


def test_the_card_names_file_sum_and_licence(file, tmp_path, made):
    """What the file says is quoted, so that it cannot become a part of the page."""
    folder = given(file, tmp_path, dtype="bfloat16").load().path
    card = (folder / "README.md").read_text("utf-8")
    for word in ("tiny.gguf", file_digest(file), "apache-2.0", "Q8_0 (15)", "rounded to bfloat16"):
        assert word in card
    assert "tiny \\u007c \\u0060model\\u0060" in card


def test_the_card_names_the_package(file, tmp_path, made, monkeypatch):
    """Its version and licence, and the sum in its list; an altered file is refused."""
    monkeypatch.syspath_prepend(tmp_path)
    brought = write_package(tmp_path, file.read_bytes())
    name = "package:brings_a_model/models/tiny.gguf"
    card = (given(name, tmp_path).load().path / "README.md").read_text("utf-8")
    for word in ("llm-tiny 0.3", "Apache-2.0", file_digest(file)):
        assert word in card
    write_gguf(brought, "Q8_0", seed=1)
    with pytest.raises(DatasetError, match=r"must be the file that llm-tiny 0.3 installed"):
        given(name, tmp_path).load()


def test_a_package_may_bring_a_folder(tmp_path, monkeypatch):
    """Which is a model like any other."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = model_folder(tmp_path / "has_a_folder" / "model")
    dataset = GivenModelDataset("m0", "package:has_a_folder/model")
    assert dataset.load().path == folder
    assert dataset.fingerprint() == GivenModelDataset("m0", str(folder)).fingerprint()


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"without": ["tokenizer"]}, ["no tokenizer"]),
        ({"without": ["token_embd.weight"]}, ["no language model"]),
        ({"layers": 1}, ["states 1 layers and holds 2"]),
        ({"more": {"split.count": 3}}, ["one of 3 parts", "--merge"]),
        ({"more": {"llama.rope.scaling.type": "yarn"}}, ["rotary", "rope.scaling.type: yarn"]),
    ],
)
def test_what_is_no_whole_model_is_refused(tmp_path, case, words, made):
    """Before anything is converted."""
    file = write_gguf(tmp_path / "tiny.gguf", **case)
    refused(given(file, tmp_path), str(file), *words)
    assert made == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\3\4 and more", ["no GGUF file", "begins with b'PK"]),
        (b"", ["no GGUF file"]),
        (b"version https://git-lfs.github.com/spec/v1\n", ["git lfs pull"]),
        (b"GGUF\1\0\0\0" + bytes(16), ["version 1"]),
        (b"GGUF\3\0\0\0" + b"\xff" * 16, ["cut off or damaged"]),
    ],
)
def test_what_is_no_gguf_file_is_refused(tmp_path, content, words, made):
    """With what was found, and what to do."""
    file = tmp_path / "tiny.gguf"
    file.write_bytes(content)
    refused(given(file, tmp_path), str(file), *words)
    with pytest.raises(DatasetError, match="Name another one, or get it again") as size:
        ModelSizeDataset(str(file)).load()
    assert "estimate.model" not in str(size.value)  # a stated size would not make it a model


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """By its suffix it is a GGUF file."""
    refused(given(tmp_path / "none.gguf", tmp_path), "none.gguf", "there is no such file")


def test_faults_are_told_before_any_work(tmp_path):
    """Of the model and of its size, from entries as the catalog has them."""
    model = "package:llm_nothing/tiny.gguf"
    size = {"type": "srlm_kedro.datasets.model_size.ModelSizeDataset", "model": model}
    entries = {"m0.model": entry_of(model, tmp_path), "m0_size": size}
    pipeline = Pipeline([Node(json.dumps, [name], f"{name}.out") for name in entries])
    memory = {f"{name}.out": {"type": "MemoryDataset"} for name in entries}
    told = data_faults(pipeline, DataCatalog.from_config(entries | memory), {}, {})
    assert len(told) == 2
    assert all("no package llm_nothing is installed" in one for one in told)


def test_what_only_reports_converts_and_downloads_nothing(file, tmp_path, made):
    """The header is read all the same; of a model on a hub nothing can be known."""
    pipeline = Pipeline([Node(json.dumps, ["m0.model"], "out")])

    def told(model, **options):
        catalog = DataCatalog.from_config({"m0.model": entry_of(model, tmp_path)})
        return data_faults(pipeline, catalog, {}, {}, **options)

    assert told(file, is_run=False) == []
    assert told("hub:nobody/none", is_run=False) == []
    assert str(tmp_path) in told(tmp_path, is_run=False)[0]  # a folder without a model
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file.read_bytes()[:3000])
    assert "cut off" in told(broken, is_run=False)[0]
    assert made == []
    assert not (tmp_path / "kept").exists()
    assert told(file) == []
    assert len(made) == 1


def test_a_run_that_is_refused_converts_and_downloads_nothing(file, tmp_path, made):
    """The other fault is told at once."""
    pipeline = Pipeline([Node(max, ["m0.model", "nowhere"], "out")])
    for model in (file, "hub:nobody/none"):
        catalog = DataCatalog.from_config({"m0.model": entry_of(model, tmp_path)})
        (fault,) = data_faults(pipeline, catalog, {}, {})
        assert fault.startswith("nowhere: ")
    assert made == []


def test_an_entry_must_say_where_the_folder_is_kept(file):
    """A catalog from before this feature is told what to write; unknown keys are refused."""
    refused(GivenModelDataset("m0", str(file)), str(file), "gguf: {folder:")
    for kept in ({"dtype": "float32"}, {"folder": "a", "type": "b"}, {"folder": "a", "dtype": "x"}):
        with pytest.raises(InputError, match="m0: "):
            GivenModelDataset("m0", str(file), gguf=kept)


def test_damage_anywhere_in_the_header_is_no_crash(file):
    """Cut off or with flipped bytes, the header is read or refused, and quickly."""
    content = file.read_bytes()
    end = 8_000  # within the tensors' entries
    draw = random.Random(0)
    began = time.monotonic()
    for number in range(300):
        damaged = bytearray(content[: draw.randrange(end)] if number % 2 else content)
        for _ in range(3):
            damaged[draw.randrange(min(len(damaged), end))] = draw.randrange(256)
        file.write_bytes(damaged)
        try:
            read_header(file).faults()
        except ValueError as error:
            assert str(error).startswith(("is ", "has "))  # noqa: PT017
    assert time.monotonic() - began < 30


def test_the_size_is_read_without_a_conversion(file, tmp_path):
    """The estimate needs nothing but the header."""
    size = ModelSizeDataset(str(file)).load()
    assert size["model"] == str(file)
    assert size["layers"] == 2
    assert not (tmp_path / "kept").exists()
    folder = given(file, tmp_path).load().path
    assert {**ModelSizeDataset(str(folder)).load(), "model": ""} == {**size, "model": ""}
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is True


def refused(dataset, *words):
    with pytest.raises(DatasetError) as caught:
        dataset.load()
    for word in words:
        assert word in str(caught.value)


def script(file, tmp_path, log, dies):
    names = {"file": str(file), "folder": str(tmp_path / "kept"), "log": str(log), "dies": dies}
    return IN_A_PROCESS.format(**names)


def run(code):
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
