"""The microworld's corpus, its M0 and its seed data."""

import random
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from srlm_kedro.engines.training.base import Document, TrainingEngine
from srlm_kedro.engines.training.params import PretrainParams
from srlm_kedro.freshness.digests import file_digest
from srlm_kedro.microworld import seed_data as seeds
from srlm_kedro.microworld.answers import PERFECT
from srlm_kedro.microworld.corpus import corpus
from srlm_kedro.microworld.params import (
    MicroworldParams,
)
from srlm_kedro.params import Reads
from srlm_kedro.records import Checkpoint, derive_seed

_TEMPLATES = Environment(
    loader=PackageLoader(__package__, ""), undefined=StrictUndefined, keep_trailing_newline=True
)


def make_corpus(
    judge_prompt: str,
    few_shot_prompt: str,
    eval_prompts: pd.DataFrame,
    microworld: Annotated[MicroworldParams, Reads("corpus")],
    seed: int,
) -> pd.DataFrame:
    """Documents of mixed quality in reading order: kind, texts, learn (whether loss falls on each).

    No document contains an evaluation prompt.
    """
    given = microworld.corpus
    documents = corpus(
        given,
        judge_prompt,
        few_shot_prompt,
        random.Random(derive_seed(seed, "corpus")),
        excluded=frozenset(eval_prompts["prompt"]),
    )
    rows = [
        (kind, [text for text, _ in segments], [learnt for _, learnt in segments])
        for kind, segments in documents
    ]
    return pd.DataFrame(rows, columns=["kind", "texts", "learn"])


def train_m0(
    corpus: pd.DataFrame,
    training_engine: TrainingEngine,
    pretraining: PretrainParams,
    seed: int,
) -> tuple[Checkpoint, pd.DataFrame, dict[str, float]]:
    """M0: a small Llama, trained on the corpus for one epoch."""
    documents = [
        Document(tuple(zip(row.texts, map(bool, row.learn), strict=True)))
        for row in corpus.itertuples()
    ]
    trained = training_engine.pretrain(documents, pretraining, derive_seed(seed, "m0"))
    metrics = {"train/documents": float(len(documents)), **trained.metrics()}
    return trained.checkpoint, pd.DataFrame(trained.log), metrics


def take_m0(ready_m0: Checkpoint) -> Checkpoint:
    """A copy of the M0 that comes with the project."""
    scratch = Path(tempfile.mkdtemp(prefix="m0-"))
    return Checkpoint(Path(shutil.copytree(ready_m0.path, scratch / "m0")), ready_m0.name)


def write_m0_card(model: Checkpoint, train_metrics: dict[str, float], seed: int) -> str:
    """M0's card: what it is, the digest of its weights, and the command that makes it again."""
    weights = model.path / "model.safetensors"
    return _TEMPLATES.get_template("m0.md.jinja").render(
        seed=seed,
        documents=int(train_metrics["train/documents"]),
        loss=train_metrics["train/loss"],
        digest=file_digest(weights),
        size=weights.stat().st_size / 1e6,
    )


def make_seed_data(
    microworld: Annotated[MicroworldParams, Reads("seed_data")],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """IFT, ranked EFT and evaluation prompts, each prompt once; the same on every machine."""
    given = microworld.seed_data
    rng = random.Random(given.seed)
    prompts = seeds.Prompts(rng)
    people = PERFECT.model_copy(
        update={
            "right": given.ift_right,
            "keeps": given.ift_keeps,
            "helpful": given.ift_helpful,
        }
    )
    ift = seeds.ift_rows(prompts, given.ift, people, rng)
    ranked = seeds.eft_rows(
        *(prompts, given.eft, given.eft_responses, given.eft_answerers, rng), points=given.points
    )
    held_out = seeds.eval_rows(prompts, given.eval_prompts, given.eval_unseen)
    return pd.DataFrame(ift), pd.DataFrame(ranked), pd.DataFrame(held_out)
