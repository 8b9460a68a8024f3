"""Any checkpoint and human data, by an environment alone: real engines, M0 to M2, on CPU."""

import gzip
import json
import shutil

import pandas as pd
import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.errors import InputError
from tests.engines.models import write_qwen2
from tests.engines.tiny import write_tiny

THINGS = ["oak", "elm", "pine", "birch", "rose", "lily", "crow", "owl", "trout", "perch"]
PLACES = ["by the river", "near the old mill", "on the hill", "in the north", "at the lake"]
JUDGE = "Rate the answer.\nUser: {instruction}\nAnswer: {response}\nEnd with Score: <points>"


def trees():
    """An OASST export: a first turn a tree, three ranked replies each."""
    for number, (thing, place) in enumerate((t, p) for t in THINGS for p in PLACES):
        replies = [
            f"You can find the {thing} {place} when the days are long.",
            f"The {thing} is {place}, I think.",
            f"No idea about any {thing}.",
        ]
        turn = {"role": "assistant", "lang": "en", "deleted": False, "synthetic": False}
        yield {
            "message_tree_id": f"t{number}",
            "tree_state": "ready_for_export",
            "prompt": {
                **turn,
                "message_id": f"t{number}",
                "role": "prompter",
                "text": f"Where {place} can I see the {thing}?",
                "replies": [
                    {
                        **turn,
                        "message_id": f"t{number}-{rank}",
                        "parent_id": f"t{number}",
                        "text": text,
                        "rank": rank,
                        "replies": [],
                    }
                    for rank, text in enumerate(replies)
                ],
            },
        }


@pytest.fixture
def real(project, tmp_path):
    """The project with an environment `real`: conf/one_gpu on CPU, at a size for seconds."""
    export = tmp_path / "trees.jsonl"
    export.write_text("\n".join(json.dumps(tree) for tree in trees()) + "\n", "utf-8")
    texts = [
        node["text"] for tree in trees() for node in [tree["prompt"], *tree["prompt"]["replies"]]
    ]
    judged = "People put this response in place 1 of 3.\nScore: 5"
    model = write_qwen2(tmp_path / "m0", [*texts, JUDGE, judged], vocab=420, hidden=64)
    folder = project.path / "conf/real"
    folder.mkdir()
    (project.path / "judge.txt").write_text(JUDGE, "utf-8")
    catalog = yaml.safe_load((project.path / "conf/one_gpu/catalog.yml").read_text("utf-8"))
    for name in ("generation_engine", "training_engine"):
        catalog[name]["options"] = {"dtype": "float32", "device": "cpu", "threads": 1}
        catalog[name]["resources"].pop("activation_checkpointing", None)
    catalog["judge_prompt"]["filepath"] = "judge.txt"
    catalog["referee"]["options"] = {
        "engine": {
            "engine": "srlm_kedro.engines.generation.scripted.ScriptedEngine",
            "options": {"judge_marker": "[[", "verdict": "[[C]]"},
        },
        "compare_prompt": {"filepath": "conf/base/prompts/compare.txt"},
    }
    (folder / "catalog.yml").write_text(yaml.safe_dump(catalog), "utf-8")
    places = {"data": "data/real", "model": str(model.path), "oasst_file": str(export)}
    places["template"] = {}
    (folder / "globals.yml").write_text(yaml.safe_dump(places | {"referee": "none"}), "utf-8")
    return project


def write_parameters(project, epochs, lora=None):
    tuning = {"dropout": 0.0, "max_length": 512, "lora": lora, "micro_batch_size": 16}
    short = {"sampling": {"n": 2, "max_new_tokens": 24}}
    values = {
        "loop": {"iterations": 2, "world": "given", "seed_data": "oasst", "eft": "ranking"},
        "oasst": {},
        "sft": {"learning_rate": 1e-2, "min_learning_rate": 1e-3, "epochs": epochs, **tuning},
        "eft": {"eval_prompts": 4, "thin_commonest": False},
        "prompts": {"chat": True, "count": 8, "max_written": 160, "sampling": {"n": 4}},
        "responses": {"sampling": {"n": 6, "max_new_tokens": 24}},
        "judging": {"sampling": {"max_new_tokens": 32}, "max_unparsed": 0.5},
        "dpo": {"learning_rate": 1e-3, "min_learning_rate": 1e-4, **tuning},
        "contamination": {"ngram": 13, "max_overlap_share": 1, "max_exact_share": 1},
        "evaluation": {**short, "greedy": False, "resamples": 100},
    }
    values["evaluation"]["judging"] = {"n": 1, "max_new_tokens": 32}
    (project.path / "conf/real/parameters.yml").write_text(yaml.safe_dump(values), "utf-8")


def test_a_whole_run_from_a_gguf_file(project):
    """The weights that it is turned into are nobody's output, and no table misses their node."""
    gguf_files = pytest.importorskip("tests.gguf_files", exc_type=ImportError)
    entry = {
        "type": "srlm_kedro.datasets.hub.GivenModelDataset",
        "model": str(gguf_files.write_gguf(project.path / "tiny.gguf", "Q8_0")),
        "name": "m0",
        "gguf": {"folder": "data/02_intermediate/gguf"},
    }
    project.configure("catalog", ready_m0=entry)
    project.configure("parameters", loop={"iterations": 2, "pretrain": False}, microworld={})
    project.run()
    iterations = pd.read_csv(project.path / "data/08_reporting/iterations.csv")
    assert list(iterations["model"]) == ["sft", "m1", "m2"]
    assert list((project.path / "data/02_intermediate/gguf").glob("*.manifest.json"))


def test_m0_to_m2_from_a_checkpoint_and_human_data(real):
    """Pairs out of the model's own judgements; all weights first, then adapters on its M1."""
    write_parameters(real, epochs=12)
    real.run(env="real")
    check(real.path / "data/real")
    write_parameters(real, epochs=2, lora={"rank": 16, "alpha": 32})
    real.run(env="real", params={"data": "data/lora", "model": "data/real/06_models/m1"})
    check(real.path / "data/lora")


def test_bad_files_are_refused_together_and_cost_nothing(real, tmp_path):
    """A cut archive and a folder without tokenizer in one message; mended, the run goes on."""
    write_parameters(real, epochs=1)
    (tmp_path / "cut.gz").write_bytes(gzip.compress((tmp_path / "trees.jsonl").read_bytes())[:-90])
    bare = shutil.copytree(tmp_path / "m0", tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    broken = {"oasst_file": str(tmp_path / "cut.gz"), "model": str(bare)}
    real.run("foundation", env="real")
    kept = {p: p.stat().st_mtime_ns for p in (real.path / "data/real").rglob("*") if p.is_file()}
    with pytest.raises(InputError) as refusal:
        real.run("foundation", env="real", params=broken)
    assert "cut.gz" in str(refusal.value)
    assert "tokenizer" in str(refusal.value)
    real.run("foundation", env="real")
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_model_that_cannot_be_drawn_from_costs_no_training(real, tmp_path):
    """BERT looks ahead: it is refused before the baseline is trained from it."""
    write_parameters(real, epochs=1)
    bert = write_tiny(tmp_path / "bert", "bert", is_decoder=False)
    with pytest.raises(InputError, match=r"the architecture bert .* cannot be sampled from"):
        real.run(env="real", params={"model": str(bert.path)})
    assert not (real.path / "data/real/06_models").exists()


def check(data):
    """What the loop leaves: margins, nothing dropped of the trees, ordinary folders, a card."""
    judged = pd.read_parquet(data / "07_model_output/m2/judged_responses.parquet")
    # About half, more or less with the rounding of the processor.
    assert judged["reward"].notna().mean() > 0.3
    pairs = pd.read_parquet(data / "05_model_input/m2/pairs.parquet")
    assert (pairs["chosen_reward"] > pairs["rejected_reward"]).all()
    assert pd.read_parquet(data / "08_reporting/seed/oasst_drops.parquet").empty
    m1, m2 = (AutoModelForCausalLM.from_pretrained(data / f"06_models/{m}") for m in ("m1", "m2"))
    assert m2.config.model_type == "qwen2"
    assert any((a != b).any() for a, b in zip(m1.parameters(), m2.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(data / "06_models/m2").chat_template
    assert (data / "06_models/m2/README.md").read_text("utf-8").startswith("---")
