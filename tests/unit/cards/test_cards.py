"""The model cards and the card of the pairs."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.pipelines.cards import create_iteration_pipeline, create_seed_model_pipeline
from srlm_kedro.pipelines.cards.nodes import (
    CardParams,
    write_iteration_card,
    write_pairs_card,
    write_seed_model_card,
)
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.pairs import PairsParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.records import Checkpoint

EVAL = {"eval/mean_score": 3.4751, "eval/pairwise_accuracy": 81.9, "eval/cut_off": 0.0}
DUELS = pd.DataFrame(
    [{"opponent": "m1", "win": 40.0, "tie": 40.06, "loss": 19.94, "low": 16.6, "high": 24.8}]
)
TRAIN = {"train/examples": 890.0, "train/loss": 0.31}
PROMPTS = {"prompts/accepted": 800.0, "prompts/written": 1464.0}
PROMPTS |= {"prompts/rejected_similar": 614.0, "prompts/rejected_empty": 0.0}
JUDGE = {"judge/judgements": 9600.0, "judge/unparsed_no_score": 7.0}
JUDGE |= {"judge/dropped_cut": 31.0, "judge/dropped_empty": 0.0}
PAIRS = {"pairs/count": 352.0, "pairs/dropped_tie": 448.0, "pairs/chosen_longer": 0.84}
EFT = {"eft/judgements": 800.0, "eft/kept": 634.0, "eft/dropped_disagreeing": 157.0}
SEED = 3


def model(name):
    return Checkpoint(Path("nowhere"), name)


def iteration(name="m2", loop=None, cards=None, prompts=None, lora=None):
    return write_iteration_card(
        model(name),
        *(EVAL, DUELS, TRAIN, PROMPTS, JUDGE, PAIRS),
        loop or LoopParams(),
        prompts or PromptsParams(),
        ResponsesParams(),
        JudgingParams(),
        PairsParams(),
        DpoParams(beta=0.37, lora=lora),
        SftParams(epochs=7),
        SEED,
        cards or CardParams(),
    )


def front(card):
    return yaml.safe_load(card.split("---\n")[1])


def parameters(card):
    return json.loads(card.split("```json\n")[1].split("```")[0])


def test_front_matter_is_what_a_hub_reads():
    """It always has library and tags; base model, data sets and license only if they are given."""
    assert front(iteration()) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": "en",
        "tags": ["self-rewarding", "srlm_kedro", "dpo", "trl"],
    }
    stated = CardParams(base_model="a/b", license="mit", datasets=("c/d",))
    held = front(iteration(cards=stated))
    assert (held["base_model"], held["license"], held["datasets"]) == ("a/b", "mit", ["c/d"])


def test_nothing_that_a_user_wrote_leaves_its_place():
    """A line break in a license adds no key, and backticks in a stop string end no block."""
    card = iteration(
        cards=CardParams(license="x\ntags: [evil]"),
        prompts=PromptsParams(sampling={"stop": ("```\n# Owned",)}),
    )
    assert front(card)["license"] == "x\ntags: [evil]"
    assert "\n# Owned" not in card
    assert parameters(card)["prompts"]["sampling"]["stop"] == ["```\n# Owned"]


def test_a_card_tells_lineage_counts_and_drops():
    """M3 comes from M2; prompts, judgements, pairs and drops are counted by reason."""
    card = iteration("m3")
    assert "M3 is M2, trained by DPO on preference pairs; the reference is M2, frozen." in card
    for line in (
        "| prompts written | 1464 |",
        "| prompts written, of them dropped: similar | 614 |",
        "| responses | 3200 |",
        "| responses dropped: cut | 31 |",
        "| judgements, of them dropped: no score | 7 |",
        "| pairs | 352 |",
        "| prompts without a pair: tie | 448 |",
        "| M1 | 40.0 | 40.1 | 19.9 | +16.6 to +24.8 |",
    ):
        assert line in card
    assert "dropped: empty" not in card


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        ({"judge": "m1"}, "answered by M2 and judged by M1"),
        ({"judge": "external"}, "judged by an external judge"),
        ({"reward": "checked"}, "answered by M2 and rewarded by programs that check them"),
        ({"reward": "both"}, "rewarded by M2 as judge and by programs that check them"),
        ({"prompt_generator": "fixed"}, "written by a fixed model"),
        ({"when_worse": "best"}, "M3 is the best of M1 to M2, trained by DPO"),
        ({"update": "positives"}, "M3 is M0, fine-tuned (SFT) on seed data and responses of full"),
    ],
)
def test_lineage_follows_the_loop(loop, said):
    """The card says who wrote, who judged, and how the model was trained."""
    card = iteration("m3", LoopParams(**loop))
    assert said in card
    shown = parameters(card)
    assert ("dpo" in shown) == (loop.get("update") is None) == ("sft" not in shown)
    assert shown["pairs"]["order"] == "reward"


def test_a_card_holds_the_parameters_that_made_the_model():
    """They are JSON that can be read back, with the seed and without fields of resources."""
    held = parameters(iteration())
    assert (held["seed"], held["dpo"]["beta"]) == (SEED, [0.37])
    assert "micro_batch_size" not in held["dpo"]


def test_metrics_that_do_not_exist_are_left_out():
    """Without a referee there is no score, and the card has none."""
    card = iteration()
    assert "| mean score of sampled responses, 0 to 5, by the referee | 3.48 |" in card
    assert "Kendall" not in card


def test_elders_have_cards_of_their_own():
    """The baseline's card has only IFT; M1's card has EFT and the comparison with the baseline."""
    given = (EVAL, TRAIN, SftParams(), SEED, CardParams())
    baseline = write_seed_model_card(model("sft"), *given)
    assert "SFT is M0, fine-tuned (SFT) on IFT, instruction fine-tuning examples." in baseline
    assert "head-to-head" not in baseline
    m1 = write_seed_model_card(model("m1"), *given, eft_metrics=EFT, head_to_head=DUELS)
    assert "and EFT" in m1
    assert "| of them kept as EFT examples | 634 |" in m1
    assert "dropped: disagreeing | 157 |" in m1
    assert "head-to-head against" in m1


@pytest.mark.parametrize(
    ("lora", "library"), [({"keep": "merged"}, "transformers"), ({"keep": "adapter"}, "peft")]
)
def test_an_adapter_is_called_one(lora, library):
    """A merged adapter gives an ordinary model."""
    card = iteration(lora=lora)
    assert front(card)["library_name"] == library
    assert ("holds only an adapter" in card) == (library == "peft")


def test_every_card_names_limits_and_ways_to_use_it():
    """The card says what was not studied, and how to load the model."""
    card = iteration("m3")
    for said in ("no safety evaluation", "Reward hacking", "AutoModelForCausalLM"):
        assert said in card
    for said in ("transformers serve", "vllm serve", "models:/srlm_kedro@m3"):
        assert said in card


def test_pipelines_ask_for_what_their_models_have():
    """The baseline has neither EFT nor a comparison, M1 has both, M_t has more counts."""
    baseline = create_seed_model_pipeline(eft=False, compared=False)
    assert baseline.inputs() >= {"model", "params:sft", "params:cards"}
    assert not baseline.inputs() & {"eft_metrics", "head_to_head"}
    m1 = create_seed_model_pipeline(eft=True, compared=True)
    assert m1.inputs() - baseline.inputs() == {"eft_metrics", "head_to_head"}
    assert {"pair_metrics", "params:dpo"} <= create_iteration_pipeline().inputs()
    assert create_iteration_pipeline().outputs() == {"card", "pairs_card"}


def test_pairs_have_a_card_that_names_their_table():
    """So a loader reads the table and not other files in the folder."""
    pairs = pd.DataFrame({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    rewards = {"pairs/chosen_reward": 4.5, "pairs/rejected_reward": 2.0}
    card = write_pairs_card(model("m3"), pairs, PAIRS | rewards, CardParams(license="mit"))
    held = front(card)
    assert held["configs"] == [{"config_name": "default", "data_files": "pairs.parquet"}]
    assert held["license"] == "mit"
    assert "M2 answered new prompts" in card
    assert "`prompt`, `chosen`, `rejected`." in card
    assert "| mean reward of chosen | 4.5 |" in card
