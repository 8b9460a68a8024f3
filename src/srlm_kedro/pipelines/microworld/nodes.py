"""The microworld's corpus, its M0 and its seed data."""

import random
from dataclasses import replace

import pandas as pd

from srlm_kedro.engines.training.base import Document, PretrainParams, TrainingEngine
from srlm_kedro.microworld import seed_data as seeds
from srlm_kedro.microworld.answers import PERFECT, Habits
from srlm_kedro.microworld.corpus import Mixture, corpus
from srlm_kedro.microworld.reviews import Reviewer
from srlm_kedro.pipelines.microworld.params import AnswererParams, MicroworldParams
from srlm_kedro.records import Checkpoint, derive_seed

VERSION = 4


def make_corpus(
    judge_prompt: str,
    few_shot_prompt: str,
    eval_prompts: pd.DataFrame,
    microworld: MicroworldParams,
    seed: int,
) -> pd.DataFrame:
    """Documents of mixed quality, in reading order: kind, texts, learn (whether each is learnt).

    None of them holds an evaluation prompt.
    """
    given = microworld.corpus
    documents = corpus(
        Mixture(**given.model_dump(exclude={"answerers", "reviewers"})),
        _habits(given.answerers),
        Reviewer(**given.reviewers.model_dump()),
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
    """M0: a small Llama that has read the corpus once."""
    documents = [
        Document(tuple(zip(row.texts, map(bool, row.learn), strict=True)))
        for row in corpus.itertuples()
    ]
    trained = training_engine.pretrain(documents, pretraining, derive_seed(seed, "m0"))
    metrics = {"train/documents": float(len(documents)), **trained.metrics()}
    return trained.checkpoint, pd.DataFrame(trained.log), metrics


def make_seed_data(
    microworld: MicroworldParams,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """IFT, ranked EFT and evaluation prompts, no prompt twice; the same on every machine."""
    given = microworld.seed_data
    rng = random.Random(given.seed)
    prompts = seeds.Prompts(rng)
    people = replace(
        PERFECT, right=given.ift_right, keeps=given.ift_keeps, helpful=given.ift_helpful
    )
    ift = seeds.ift_rows(prompts, given.ift, people, rng)
    ranked = seeds.eft_rows(
        prompts, given.eft, given.eft_responses, _habits(given.eft_answerers), rng
    )
    held_out = seeds.eval_rows(prompts, given.eval_prompts, given.eval_unseen)
    return pd.DataFrame(ift), pd.DataFrame(ranked), pd.DataFrame(held_out)


def _habits(params: AnswererParams) -> Habits:
    return Habits(**params.model_dump())
