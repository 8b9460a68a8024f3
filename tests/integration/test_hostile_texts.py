"""A whole run whose model writes what could break a file, a page or a terminal."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from srlm_kedro.display.safe_text import encodable
from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.records import Checkpoint, derive_seed
from tests.hostile import HOSTILE, TAG, Skeleton, is_harmless

LONG = [text for text in HOSTILE.values() if len(text) > 10_000]
SHORT = [text for text in HOSTILE.values() if len(text) <= 10_000]
MADE = {"head_to_head", "reward_modelling", "iterations", "errors"}


class HostileEngine(ScriptedEngine):
    """The scripted engine, with a hostile text in each completion: alone in every other answer."""

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions."""
        drawn = super().generate(model, requests, sampling, seed)
        return [
            [_spoilt(request, sample, one) for sample, one in enumerate(completions)]
            for request, completions in zip(requests, drawn, strict=True)
        ]


def _spoilt(request: Request, sample: int, said: Completion) -> Completion:
    number = derive_seed(0, request.id, str(sample))
    texts = SHORT if number % 50 else LONG
    text = texts[number // 50 % len(texts)]
    if "Score:" in request.prompt.rstrip().rpartition("\n")[2]:
        return replace(said, text=f"{text}\n{said.text}")
    if not request.chat:
        return replace(said, text=f"{said.text[:-1]} {number % 9973} {text}")
    return replace(said, text=text if number // 5000 % 2 else f"{said.text} {text}")


@pytest.fixture
def run(project, caplog, capsys):
    """A project after a run of everything, with what it logged and printed."""
    engine = {"engine": f"{HostileEngine.__module__}.{HostileEngine.__qualname__}"}
    kind = {"type": "srlm_kedro.datasets.engine.EngineDataset"}
    project.configure("catalog", generation_engine=kind | engine)
    with caplog.at_level(logging.INFO):
        project.run(params={"judging": {"max_unparsed": 0.5}})
    said = [record.getMessage() for record in caplog.records]
    printed = capsys.readouterr()
    return project.path, [*said, printed.out, printed.err]


def test_model_text_stays_data_in_every_place_where_it_leaves(run):
    """Tables keep it; pages, cards, figures, logs and what MLflow shows make it harmless."""
    path, said = run
    _tables_keep_it(path / "data")
    for page in path.glob("data/08_reporting/**/*.html"):
        _is_harmless_page(page.read_text("utf-8"))
    for card in path.glob("data/0[56]*/*/README.md"):
        text = card.read_text("utf-8")
        assert TAG not in text
        assert is_harmless(text)
    for name in MADE:
        _holds_no_text(pd.read_csv(path / f"data/08_reporting/{name}.csv"))
    for line in said:
        assert TAG not in line
        assert is_harmless(line)
    _mlflow_shows_data(path / "mlruns")


def _tables_keep_it(data: Path) -> None:
    """Every text came through, whole: as it was, but for what is no Unicode."""
    responses = pd.concat(
        pd.read_parquet(data / f"07_model_output/{model}/{table}.parquet")
        for model, table in (("m2", "responses"), ("m3", "responses"), ("m3", "eval_responses"))
    )
    kept = set(responses["response"])
    missing = [name for name, text in HOSTILE.items() if encodable(text) not in kept]
    assert missing == []


def _is_harmless_page(text: str) -> None:
    assert text.isascii()
    assert is_harmless(text)
    assert len(text) < 2_000_000
    names = {name for element in Skeleton(text).elements for name in element}
    assert not any(TAG in name or name.startswith("on") for name in names)
    assert not names & {"script", "img", "a", "href", "src", "svg", "iframe"}


def _holds_no_text(table: pd.DataFrame) -> None:
    """Numbers, and names of models: nothing that a spreadsheet could take for a formula."""
    texts = table.select_dtypes(exclude="number")
    assert set(texts) <= {"model", "opponent"}
    assert set(texts.stack()) <= {"sft", "m1", "m2", "m3"}


def _mlflow_shows_data(folder: Path) -> None:
    tables = list(folder.rglob("judged_responses.json"))
    assert len(tables) == 2
    for file in tables:
        held = json.loads(file.read_text("utf-8"))
        cells = [cell for row in held["data"] for cell in row if isinstance(cell, str)]
        assert all(is_harmless(cell) and len(cell) < 5000 for cell in cells)
    for figure in folder.rglob("*.svg"):
        parts = {part.tag.rpartition("}")[2] for part in ElementTree.parse(figure).iter()}
        assert parts == {"svg", "rect", "text"}
    for page in folder.rglob("*.html"):
        _is_harmless_page(page.read_text("utf-8"))
