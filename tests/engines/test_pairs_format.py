"""The pairs are a data set that others can read: `datasets` loads it, TRL trains on it as it is."""

import pandas as pd
import pytest
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer
from trl.data_utils import is_conversational

from srlm_kedro.freshness.manifest import write_manifest
from srlm_kedro.pipelines.cards.nodes import CardParams, write_pairs_card
from srlm_kedro.pipelines.pairs import PairsParams, make_pairs
from srlm_kedro.records import Checkpoint


@pytest.fixture
def table(tmp_path):
    """Four pairs on disk as a run leaves them, manifest and card beside."""
    rows = [
        (f"p{n}", f"w{n} w1", f"p{n}-r{k}", f"w{k + 2} w{n + 3}", float(k), 3, "stop", "ok")
        for n in range(4)
        for k in range(2)
    ]
    columns = ["prompt_id", "prompt", "response_id", "response", "reward", "tokens"]
    columns += ["finish", "reason"]
    pairs, metrics = make_pairs(pd.DataFrame(rows, columns=columns), PairsParams(), seed=0)
    path = tmp_path / "m2/pairs.parquet"
    path.parent.mkdir()
    pairs.to_parquet(path)
    write_manifest(path, {})
    card = path.with_name("README.md")
    m2 = Checkpoint(tmp_path, "m2")
    card.write_text(write_pairs_card(m2, pairs, metrics, CardParams()))
    write_manifest(card, {})
    return path


def test_pairs_load_with_their_columns_as_text(table, tmp_path):
    """The three that trainers look for are strings; it is TRL's plain format, no chat."""
    cache = str(tmp_path / "cache")
    loaded = load_dataset("parquet", data_files=str(table), cache_dir=cache)["train"]
    kinds = {name: loaded.features[name].dtype for name in ("prompt", "chosen", "rejected")}
    assert all(kind in ("string", "large_string") for kind in kinds.values())
    assert not is_conversational(loaded[0])
    assert loaded[0]["chosen"] == "w3 w3"
    assert loaded[0]["rejected"] == "w2 w3"


def test_the_folder_loads_for_its_card_names_the_table(table, tmp_path):
    """Manifests are JSON, which a loader would else read as data."""
    loaded = load_dataset(str(table.parent), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.num_rows == 4


@pytest.mark.filterwarnings("ignore")
def test_trl_trains_on_the_file_as_it_is(table, tmp_path, checkpoint):
    """Its own trainer, none of this project's code between."""
    loaded = load_dataset("parquet", data_files=str(table), cache_dir=str(tmp_path / "cache"))
    trainer = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(checkpoint.path),
        args=DPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            per_device_train_batch_size=4,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=loaded["train"],
        processing_class=AutoTokenizer.from_pretrained(checkpoint.path),
    )
    assert trainer.train().training_loss == pytest.approx(0.693, abs=0.01)
