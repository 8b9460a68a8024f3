"""Which code and which libraries an output is made by."""

import sys

import pytest

from srlm_kedro.freshness import provenance
from srlm_kedro.freshness.provenance import engine_made_by, made_by

NODES = """
from world.reading import read
from world import drawing

def work(table):
    return read(table)
"""
DRAWING = """
import torch

def draw():
    import numpy
    from .shapes.round import circle
    return circle()
"""


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A package whose files a test may change."""
    folder = tmp_path / "world"
    for name, text in {
        "__init__.py": "",
        "nodes.py": NODES,
        "reading.py": "READS_AGAIN = True\nfrom world import numbers\n",
        "numbers.py": "ONE = 1\n",
        "drawing.py": DRAWING,
        "shapes/__init__.py": "",
        "shapes/round.py": "def circle():\n    return 1\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    provenance.clear_caches()
    yield folder
    provenance.clear_caches()


def changed(world, file, text, drawn=False):
    """The parts of the recipe that change when a file gets another text."""
    before = made_by("world.nodes", drawn)
    (world / file).write_text(text)
    provenance.clear_caches()
    after = made_by("world.nodes", drawn)
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def test_a_module_counts_with_all_modules_that_it_reaches(world):
    """Imports of modules and of names count, relative ones, and those within functions."""
    reached = [name.removeprefix("code of world.") for name in made_by("world.nodes")]
    code = {"nodes", "reading", "numbers", "drawing", "shapes.round"}
    assert code == {name for name in reached if not name.startswith("library")}


@pytest.mark.parametrize("file", ["nodes", "reading", "numbers", "drawing", "shapes/round"])
def test_a_change_anywhere_among_them_is_seen_and_named(world, file):
    """The recipe names the module."""
    text = (world / f"{file}.py").read_text() + "\nMORE = 2\n"
    assert changed(world, f"{file}.py", text) == [f"code of world.{file.replace('/', '.')}"]


def test_comments_docstrings_and_layout_change_nothing(world):
    """The function still does the same."""
    text = """\"\"\"Shapes.\"\"\"
def circle():
    \"\"\"One.\"\"\"

    return (1)  # at last
"""
    assert changed(world, "shapes/round.py", text) == []


def test_a_template_beside_a_module_counts_by_its_bytes(world):
    """The code and the template make the card."""
    assert changed(world, "shapes/card.md.jinja", "# {{ name }}") == ["code of world.shapes.round"]


def test_what_reads_texts_again_is_no_part_of_drawing_them(world):
    """Modules that only it reaches do not count either; for a node without an engine all count."""
    assert "code of world.reading" not in made_by("world.nodes", drawn=True)
    assert changed(world, "numbers.py", "ONE = 2\n", drawn=True) == []
    assert changed(world, "numbers.py", "ONE = 3\n") == ["code of world.numbers"]


def test_a_package_without_an_init_file_counts_too(world):
    """A user's engines may be in such a package."""
    (world.parent / "mine").mkdir()
    (world.parent / "mine/engine.py").write_text("from mine import other\n")
    (world.parent / "mine/other.py").write_text("")
    found = engine_made_by({"engine": "mine.engine.Engine"})
    assert found.keys() == {"code of mine.engine", "code of mine.other"}


def test_libraries_that_compute_count_by_their_versions(world, monkeypatch):
    """numpy's version does not count: every release would make all tables stale."""
    monkeypatch.setattr(provenance, "version", lambda name: f"{name} 1.0")
    found = made_by("world.nodes")
    assert found["library torch"] == "torch 1.0"
    assert not any("numpy" in name for name in found)


def test_an_engine_counts_with_nested_engines_and_another_pythons_libraries(world, tmp_path):
    """A referee has an engine of its own; vLLM runs in another environment."""
    for name in ("vllm-0.9.1", "torch-2.9.0", "rich-14.0"):
        (tmp_path / f"venv/lib/python3.12/site-packages/{name}.dist-info").mkdir(parents=True)
    python = tmp_path / "venv/bin/python"
    inner = {"engine": "world.shapes.round.Circle", "options": {"python": str(python)}}
    found = engine_made_by({"engine": "world.numbers.One", "options": {"generation": inner}})
    assert found.keys() >= {"code of world.numbers", "code of world.shapes.round"}
    assert found[f"library {python}: vllm"] == "0.9.1"
    assert found[f"library {python}: torch"] == "2.9.0"
    assert not any("rich" in name for name in found)


def test_the_engines_of_this_project_count_what_their_texts_depend_on():
    """The sampler, the chat format and the libraries count; nothing of the loop does."""
    sampler = engine_made_by(
        {"engine": "srlm_kedro.engines.generation.transformers.TransformersEngine"}
    )
    trainer = engine_made_by({"engine": "srlm_kedro.engines.training.trl.TrlEngine"})
    for module in ("engines.chat", "engines.thoughts", "engines.template"):
        assert f"code of srlm_kedro.{module}" in sampler.keys() & trainer.keys()
    assert "code of srlm_kedro.engines.generation.tiered.drawing" in sampler
    libraries = {"library torch", "library transformers", "library tokenizers"}
    assert sampler.keys() >= libraries
    assert trainer.keys() >= libraries | {"library trl", "library peft", "library accelerate"}
    annotator = {"engine": "srlm_kedro.engines.published.alpaca_eval.AlpacaAnnotator"}
    assert "library alpaca_eval" in engine_made_by(annotator)
    assert not any(".pipelines" in name or ".microworld" in name for name in sampler | trainer)


def test_a_judge_of_raw_text_does_not_count_the_parser():
    """MT-Bench keeps raw judgements; a referee that scores keeps only the number."""
    judge = engine_made_by({"engine": "srlm_kedro.referee.llm_judge.LlmJudge"})
    referee = engine_made_by({"engine": "srlm_kedro.referee.llm_referee.LlmReferee"})
    assert "code of srlm_kedro.referee.llm_judge" in judge.keys() & referee.keys()
    assert "code of srlm_kedro.judge.parsing" in referee.keys() - judge.keys()


@pytest.mark.parametrize(
    ("drawing", "reading"),
    [
        ("judging.nodes", "judge.statistics"),
        ("eft.nodes", "judge.statistics"),
        ("evaluation.nodes", "judge.statistics"),
        ("selection.nodes", "judge.statistics"),
        ("study.rubric", "judge.statistics"),
        ("study.self_judging", "judge.statistics"),
        ("study.truth", "pipelines.study.self_judging"),
        ("judging.nodes", "judge.parsing"),
        ("published.mt_bench", "pipelines.published.mt_bench_scores"),
        ("published.mt_bench", "judge.verdict"),
    ],
)
def test_code_that_reads_is_no_part_of_what_is_drawn(drawing, reading):
    """A change of the rewards, of an interval or of the parser draws and judges nothing again."""
    module = f"srlm_kedro.pipelines.{drawing}"
    assert f"code of {module}" in made_by(module, True)
    assert f"code of srlm_kedro.{reading}" not in made_by(module, True)
