"""The estimate, compared with figures by hand on tiny inputs."""

import json
import socket
import struct
from pathlib import Path

import pandas as pd
import pytest
import yaml
from huggingface_hub import constants
from kedro.io import DatasetError
from pydantic import ValidationError

from srlm_kedro.datasets import values
from srlm_kedro.datasets.model_size import ModelSizeDataset
from srlm_kedro.datasets.values import MachineDataset
from srlm_kedro.engines import machine
from srlm_kedro.engines.training.params import DpoParams, PretrainParams, SftParams
from srlm_kedro.errors import InputError
from srlm_kedro.microworld.params import MicroworldParams
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.estimate import costs, sizes
from srlm_kedro.pipelines.estimate.devices import DEVICES, device_for
from srlm_kedro.pipelines.estimate.draws import expect_draws
from srlm_kedro.pipelines.estimate.overview import duration, summarise_estimate
from srlm_kedro.pipelines.estimate.params import EstimateParams, SizeParams
from srlm_kedro.pipelines.estimate.trainings import expect_training
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.pipelines.selection.nodes import SelectionParams
from srlm_kedro.pipelines.study.params import StudyParams
from srlm_kedro.pipelines.study.rubric import RubricParams

CONF = Path(__file__).parents[3] / "conf"
SIZE = {"parameters": 1e6, "layers": 2, "hidden_size": 10, "kv_size": 4, "vocabulary": 100}
TEXTS = {
    **{"ift": 10, "ift_prompt": 5.0, "ift_response": 9.0},
    **{"eft_prompts": 4, "eft_responses": 16, "eft_prompt": 6.0, "eft_response": 8.0},
    **{"eval_prompts": 3, "eval_prompt": 7.0},
    **{"judge_prompt": 20.0, "judge_prefix": 12.0, "few_shot_prompt": 4.0},
    **{"criteria": 0.0, "question": 0.0},
}
EXPECTED = {
    **{"written_tokens": 6, "response_growth": 2, "judgement_tokens": 11},
    **{"accepted_share": 0.5, "pair_yield": 0.25, "kept_share": 0.5},
}
GIVEN = LoopParams(world="given")
COUNT = PromptsParams(count=100, sampling={"n": 4})


def estimate(**knobs):
    return EstimateParams.model_validate({**EXPECTED, **knobs})


def draws(loop=GIVEN, prompts=COUNT, judging=None, knobs=None):
    return expect_draws(
        TEXTS,
        loop,
        prompts,
        ResponsesParams(),
        judging or JudgingParams(),
        EftParams(),
        EvaluationParams(),
        SelectionParams(),
        StudyParams(),
        RubricParams(),
        knobs or estimate(),
    ).set_index(["stage", "model"])


def training(loop=GIVEN, sft=None, dpo=None, knobs=None, corpus=None):
    return expect_training(
        TEXTS,
        loop,
        COUNT,
        EftParams(),
        sft or SftParams(epochs=2),
        dpo or DpoParams(),
        MicroworldParams(corpus=corpus or {}),
        PretrainParams(),
        knobs or estimate(),
    ).set_index("model")


def test_prompts_are_written_until_enough_are_accepted():
    """100 prompts at an accepted share of one half need 200 continuations, four per request."""
    row = draws().loc["prompts", "m2"]
    assert (row["requests"], row["completions"], row["new_tokens"]) == (50, 200, 200 * 6)
    assert row["prompt_tokens"] == 50 * (4 + 8 * (5 + 3))


def test_writing_ends_at_its_budget():
    """`max_written` limits the continuations, and so the prompts, responses and judgements."""
    table = draws(prompts=PromptsParams(count=100, max_written=80, sampling={"n": 4}))
    assert table.loc[("prompts", "m2"), "completions"] == 80
    assert table.loc[("responses", "m2"), "completions"] == 40 * 4


def test_every_response_is_judged_k_times_behind_a_shared_rubric():
    """400 responses get three judgements each; the start of the judge prompt is computed once."""
    row = draws().loc["judging", "m2"]
    assert (row["requests"], row["completions"]) == (400, 1200)
    prompt = 20 + 5 + (9 + 1) + 2
    assert row["prompt_tokens"] == 400 * prompt
    assert row["prefill_tokens"] == 400 * (prompt - 12) + 12
    assert row["new_tokens"] == 1200 * 11


def test_an_engine_that_shares_nothing_reads_every_prompt_for_every_completion():
    """Without shared prefixes the prefill is many times larger."""
    row = draws(knobs=estimate(shares_prefixes=False)).loc["judging", "m2"]
    assert row["prefill_tokens"] == 3 * row["prompt_tokens"]


def test_no_completion_is_longer_than_its_limit():
    """`max_new_tokens` limits the expected length."""
    short = JudgingParams(sampling={"max_new_tokens": 7})
    assert draws(judging=short).loc[("judging", "m2"), "new_tokens"] == 1200 * 7


def test_responses_lengthen_from_model_to_model():
    """M2's responses are twice as long as M1's, by `response_growth`."""
    table = draws()
    lengths = table["new_tokens"] / table["completions"]
    assert lengths["responses", "m2"] == 9 + 1
    assert lengths["responses", "m3"] == 2 * 9 + 1


def test_switches_of_the_loop_change_what_is_drawn():
    """`eft: ranking` has no EFT row; soft labels have a second judging, and programs have none."""
    assert "eft" in draws().index.get_level_values("stage")
    assert "eft" not in draws(LoopParams(world="given", eft="ranking")).index
    soft = draws(LoopParams(world="given", soft_labels=True))
    assert soft.loc["consistency", "m2"].equals(soft.loc["judging", "m2"])
    checked = draws(LoopParams(world="given", reward="checked"))
    assert draws().drop("judging").equals(checked)  # the rest of what judges do stays
    assert draws(LoopParams(world="given", reward="both")).equals(draws())
    longer = draws(LoopParams(world="given", iterations=5))
    assert ("judging", "m5") in longer.index


def test_every_model_answers_the_prompts_held_back_from_eft_unless_none_is_compared():
    """One prompt of four is held back and gets four answers. Only M1: there is no comparison."""
    table = draws().loc["selection"]
    assert set(table.index) == {"m1", "m2", "m3"}
    answers, judgements = (row for _, row in table.loc["m2"].iterrows())
    assert (answers["requests"], answers["completions"]) == (1, 4)
    assert (judgements["requests"], judgements["completions"]) == (4, 12)
    for loop in ({"when_worse": "off"}, {"iterations": 1}):
        stages = draws(LoopParams(world="given", **loop)).index.get_level_values("stage")
        assert "selection" not in stages


def test_every_model_judges_its_own_sampled_answers():
    """Three held-out prompts, four answers each, three judgements; a longer answer is read. M1
    judges EFT's eval split under three shuffled rubrics too.
    """
    table = draws().loc["study"]
    assert list(table.index) == ["sft", "m1", "m2", "m3", "m1", "m1", "m1"]
    assert table["requests"].tolist() == [12] * 4 + [4] * 3
    assert table["completions"].tolist() == [36] * 4 + [12] * 3
    assert table.loc["m2", "prompt_tokens"] == 12 * (20 + 7 + (2 * 9 + 1) + 2)
    unstudied = draws(LoopParams(world="given", study=False))
    assert "study" not in unstudied.index.get_level_values("stage")


def test_pairs_are_a_share_of_the_prompts_and_trained_with_a_reference():
    """100 prompts give 25 pairs of two sequences; three passes per epoch, one of the reference."""
    row = training(dpo=DpoParams(epochs=2)).loc["m2"]
    tokens = 25 * 2 * (5 + 2 + 9 + 1)
    assert (row["examples"], row["train_tokens"]) == (25, 2 * tokens)
    assert row["passes"] == tokens * (3 * 2 + 1)


def test_m1_learns_from_ift_and_the_eft_that_is_kept():
    """A quarter of 16 ranked responses is held back, and half of the rest is kept."""
    table = training()
    assert table.loc["sft", "examples"] == 10
    assert table.loc["m1", "examples"] == 10 + 6
    judged = 20 + 6 + 8 + 2 + 11
    assert table.loc["m1", "train_tokens"] == 2 * (10 * (5 + 9 + 3) + 6 * judged)
    assert training(LoopParams(world="given", eft="none")).loc["m1", "examples"] == 10


def test_an_adapter_saves_a_pass_and_checkpointing_costs_one():
    """A backward pass computes no gradients of frozen weights."""
    full = training()["passes"]["sft"]
    adapted = SftParams(epochs=2, lora={"rank": 8})
    assert training(sft=adapted)["passes"]["sft"] == full * 2 / 3
    assert training(knobs=estimate(activation_checkpointing=True))["passes"]["sft"] == full * 4 / 3


def test_pretraining_counts_where_m0_is_made():
    """A given M0, and the one that comes with the project, cost nothing."""
    assert "m0" not in training().index
    assert "m0" not in training(LoopParams()).index
    row = training(LoopParams(pretrain=True)).loc["m0"]
    assert row["passes"] == pytest.approx(3 * row["train_tokens"], abs=2)
    short = training(LoopParams(pretrain=True), corpus={"opening": 1.0}).loc["m0"]
    assert short["train_tokens"] < 0.8 * row["train_tokens"]  # no reviews and no lists of tasks


def test_hours_are_work_over_rates():
    """The hours of one sampling by hand; two GPUs need half the hours of one."""
    device = DEVICES["two_cpu_cores"]
    row = pd.DataFrame(
        [{"steps": 0, "prompt_tokens": 0, "requests": 1, "completions": 1, "new_tokens": 1000}]
    ).assign(prefill_tokens=500)
    seconds = costs.draw_seconds(next(row.itertuples()), SIZE, device, estimate())
    assert seconds == pytest.approx(2e6 * 500 / device.prefill + 2e6 * 1000 / device.decode)

    def hours(devices):
        knobs = estimate(device="h200", devices=devices)
        table = costs.reckon(draws().reset_index(), training().reset_index(), SIZE, knobs, {})
        return table.loc[table["stage"] != "around", "hours"].sum()

    assert hours(2) == pytest.approx(hours(1) / 2)


def test_reading_weights_bounds_a_small_batch():
    """With few rows at once, reading the weights decides the time of a step."""
    device = DEVICES["h200"]
    row = pd.DataFrame(
        [{"steps": 100, "prompt_tokens": 0, "requests": 1, "completions": 1, "new_tokens": 0}]
    ).assign(prefill_tokens=0)
    knobs = estimate(dtype="bfloat16")
    seconds = costs.draw_seconds(next(row.itertuples()), SIZE, device, knobs)
    assert seconds == pytest.approx(100 * (device.draw_step + 2e6 / device.bandwidth))


def test_full_training_holds_sixteen_bytes_a_parameter_and_an_adapter_little_more_than_four():
    """Weights, gradients and two moments are float32; devices do not share the activations."""

    def held(lora=None, **knobs):
        table = training(sft=SftParams(lora=lora), dpo=DpoParams(lora=lora)).reset_index()
        on_gpus = estimate(device="h200", **knobs)
        return costs.memory(draws().reset_index(), table, SIZE, on_gpus)

    assert held()["states"] * 2**30 == pytest.approx(16e6)
    assert held(devices=4)["states"] * 2**30 == pytest.approx(4e6)
    assert held(devices=4)["activations"] == held()["activations"]
    assert 4e6 < held({"rank": 4})["states"] * 2**30 < 4.1e6
    assert held({"rank": 4, "quantise": "4bit"})["states"] * 2**30 < 0.65e6
    assert held(activation_checkpointing=True)["activations"] < held()["activations"]


@pytest.mark.parametrize(
    ("peak", "word"),
    [
        ({"drawing": 5.0, "states": 5.0, "activations": 3.0}, "it fits"),
        ({"drawing": 5.0, "states": 14.0, "activations": 3.0}, "4 devices are needed"),
        ({"drawing": 5.0, "states": 5.0, "activations": 11.0}, "lower `micro_batch_size`"),
    ],
)
def test_a_verdict_says_what_is_lacking(peak, word):
    """Two devices of 10 GiB are enough, too few, or too small for the activations."""
    assert word in costs.verdict(peak, 2, 10.0)


def test_every_trained_model_lies_on_disk_once():
    """The baseline and M1 to M3 count; M0 is on the disk already."""

    def held(lora=None, **knobs):
        trained = training(sft=SftParams(lora=lora), dpo=DpoParams(lora=lora)).reset_index()
        table = costs.reckon(draws().reset_index(), trained, SIZE, estimate(), {})
        return costs.disk(table, trained, SIZE, estimate(**knobs))["models"]

    assert held() == held({"keep": "merged"}) == 4 * 4e6
    assert held(checkpoint_dtype="bfloat16") == 4 * 2e6
    assert held({"keep": "adapter", "rank": 1}) == 4 * 4 * 21 * 2 * 10


def test_texts_are_counted_by_words_and_marks():
    """The microworld's tokenizer cuts `Name two.` into three."""
    table = pd.DataFrame({"prompt_id": ["a", "b"], "prompt": ["Name two.", "Say hi\nnow"]})
    table = table.assign(response=["one, two", "hi"])
    texts = sizes.measure_texts(
        table, table, table, "Judge: {instruction} {response}", "{tasks}", LoopParams(), estimate()
    )
    assert (texts["ift_prompt"], texts["ift_response"]) == (3.5, 2.0)
    assert texts["judge_prefix"] == 2
    other = estimate(tokens_per_word=2)
    doubled = sizes.measure_texts(table, table, table, "", "", LoopParams(), other)
    assert doubled["ift_prompt"] == 7


def test_m0s_size_is_read_stated_or_reckoned_in_that_order():
    """The result says where the size comes from."""
    stated = SizeParams(**SIZE)
    loop, made = LoopParams(), PretrainParams()
    absent, here = {"model": "data/m0"}, {"model": "data/m0", "parameters": 3}
    found = sizes.size_model(absent, loop, made, estimate(model=stated))
    assert found.items() >= SIZE.items()
    assert "estimate.model" in found["source"]
    read = sizes.size_model(here, loop, made, estimate(model=stated))
    assert (read["parameters"], read["source"]) == (3, "read from its files")
    assert sizes.size_model(absent, loop, made, estimate())["parameters"] == 806_784


@pytest.mark.parametrize("m0", ["hub:a/b", "hub:a/b@main"])
def test_a_stated_size_counts_for_the_model_that_it_names(m0):
    """This holds for any revision of the model."""
    stated = SizeParams(name="hub:a/b", **SIZE)
    found = sizes.size_model({"model": m0}, GIVEN, PretrainParams(), estimate(model=stated))
    assert found["parameters"] == SIZE["parameters"]


@pytest.mark.parametrize(
    ("m0", "stated", "words"),
    [
        ("hub:a/c", SizeParams(name="hub:a/b", **SIZE), ["hub:a/c", "size of hub:a/b", "cache"]),
        ("hub:a/c", SizeParams(**SIZE), ["hub:a/c", "a model that it does not name"]),
        ("hub:a/c", None, ["hub:a/c", "downloads nothing"]),
        ("a/folder", SizeParams(name="hub:a/b", **SIZE), ["a/folder", "no whole model"]),
    ],
)
def test_no_other_models_size_is_taken(m0, stated, words):
    """The message has M0's name, the model whose size was stated, and what to state."""
    with pytest.raises(InputError) as caught:
        sizes.size_model({"model": m0}, GIVEN, PretrainParams(), estimate(model=stated))
    for word in [*words, "estimate.model"]:
        assert word in str(caught.value)


def test_a_partly_stated_size_keeps_its_owner():
    """A shipped environment's own size is of the model that it names."""
    for env in ("one_gpu", "paper"):
        named = yaml.safe_load((CONF / env / "globals.yml").read_text("utf-8"))["model"]
        stated = yaml.safe_load((CONF / env / "parameters.yml").read_text("utf-8"))["estimate"]
        assert stated["model"]["name"] == named


def test_a_folders_size_is_read_from_its_headers(tmp_path):
    """Two shards, grouped heads; no weight is read. A folder without a model has no size."""
    assert ModelSizeDataset(str(tmp_path)).load() == {"model": str(tmp_path)}
    write_headers(tmp_path)
    found = ModelSizeDataset(str(tmp_path)).load()
    assert found == {
        "model": str(tmp_path),
        "parameters": 17,
        "layers": 2,
        "hidden_size": 8,
        "vocabulary": 9,
        "kv_size": 4,
    }


def test_a_model_that_is_not_whole_has_no_size(tmp_path):
    """Its index names a missing shard; a part does not count as the model."""
    write_headers(tmp_path)
    shards = {"a": "model-0.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    assert ModelSizeDataset(str(tmp_path)).load() == {"model": str(tmp_path)}


def test_a_model_of_the_hub_is_measured_in_its_cache(tmp_path, monkeypatch):
    """A downloaded model has a size, another has none, and no socket is opened."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("the network was asked"))
    assert ModelSizeDataset("hub:a/b").load() == {"model": "hub:a/b"}
    commit = "0" * 40
    snapshot = tmp_path / "models--a--b" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    refs = tmp_path / "models--a--b" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    write_headers(snapshot)
    assert ModelSizeDataset("hub:a/b").load()["parameters"] == 17
    assert ModelSizeDataset(f"hub:a/b@{commit}").load()["parameters"] == 17
    assert "parameters" not in ModelSizeDataset("hub:a/b@other").load()


def write_headers(folder):
    """A model of two shards, as far as its size is concerned."""
    for number, shape in enumerate([[3, 4], [5]]):
        header = json.dumps({"__metadata__": {}, "w": {"dtype": "F32", "shape": shape}}).encode()
        file = folder / f"model-{number}.safetensors"
        file.write_bytes(struct.pack("<Q", len(header)) + header)
    config = {"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 9}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    (folder / "config.json").write_text(json.dumps(config))


def test_a_broken_folder_is_refused(tmp_path):
    """Weights that were cut off have no header to read."""
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"size cannot be read .* or name another\.$"):
        ModelSizeDataset(str(tmp_path)).load()


@pytest.mark.parametrize(
    "fault",
    [
        {"device": "abacus"},
        {"accepted_share": 0},
        {"devcie": "h200"},
        {"device": "two_cpu_cores", "devices": 2},
    ],
)
def test_knobs_that_mean_nothing_are_refused(fault):
    """An unknown device, a share of none, a mistyped name, this machine twice."""
    with pytest.raises(ValidationError):
        EstimateParams.model_validate(fault)


@pytest.mark.parametrize(
    ("hours", "said"), [(0.01, "36 s"), (0.5, "30 min"), (5.25, "5.2 h"), (240, "10 days")]
)
def test_durations_are_said_as_people_do(hours, said):
    """Seconds, minutes, hours, days."""
    assert duration(hours) == said


def test_the_summary_tells_models_stages_memory_and_disk():
    """It has models, stages, memory and disk."""
    knobs = estimate()
    tables = draws().reset_index(), training().reset_index()
    table = costs.reckon(*tables, SIZE, knobs, {})
    size = {**SIZE, "model": "hub:a/b", "source": "read from its files"}
    text = summarise_estimate(table, *tables, size, knobs, {"memory": 24.0})
    for word in ("1.0M parameters", "two_cpu_cores", "judging", "m3", "memory", "disk", "it fits"):
        assert word in text
    assert "hub:a/b" in text
    assert "read from its files" in text


@pytest.mark.parametrize(("held", "word"), [(24.0, "it fits"), (2.0, "training needs")])
def test_a_cpu_is_held_against_this_machines_memory(held, word):
    """The whole memory of the machine counts, and the text has no number of devices."""
    knobs = estimate(rows=512)
    tables = draws().reset_index(), training().reset_index()
    size = {**SIZE, "parameters": 4e8, "model": "m", "source": "stated"}
    table = costs.reckon(*tables, size, knobs, {})
    text = summarise_estimate(table, *tables, size, knobs, {"memory": held})
    assert word in text
    assert f"this machine's {held:g}" in text
    assert "devices" not in text


@pytest.mark.parametrize(
    ("peak", "words"),
    [
        ({"drawing": 8.0, "states": 5.0, "activations": 3.0}, "it fits"),
        ({"drawing": 8.5, "states": 5.0, "activations": 3.0}, "sampling needs 9.8 GiB"),
        ({"drawing": 9.0, "states": 6.0, "activations": 3.0}, "training needs 10.3 GiB"),
    ],
)
def test_the_memory_of_a_machine_counts_once_and_the_process_needs_some(peak, words):
    """9.5 GiB hold 8 of sampling and then 8 of training beside 1.3 of the process, and no more."""
    found = costs.machine_verdict(peak, 9.5)
    assert words in found
    assert "devices" not in found
    assert costs.machine_verdict(peak, 10.5) == "it fits"


def test_a_gpu_that_this_machine_lacks_is_no_dead_end():
    """The text says how to estimate the run on this machine; `cpu` is a name for it."""
    knobs = estimate(device="h100_80gb")
    tables = draws().reset_index(), training().reset_index()
    size = {**SIZE, "model": "m", "source": "stated"}
    text = summarise_estimate(
        costs.reckon(*tables, SIZE, knobs, {}), *tables, size, knobs, {"memory": 23.5}
    )
    assert "this machine's CPU (23.5 GiB): estimate that with `estimate.device=cpu`" in text
    here = estimate(device="cpu")
    assert "this machine's 23.5" in summarise_estimate(
        costs.reckon(*tables, SIZE, here, {}), *tables, size, here, {"memory": 23.5}
    )
    with pytest.raises(ValidationError, match="`devices` is 1"):
        estimate(device="cpu", devices=2)


def test_a_training_of_few_steps_is_warned_of():
    """Ten IFT examples for two epochs are two steps; enough epochs are enough steps."""
    knobs, size = estimate(), {**SIZE, "model": "m", "source": "stated"}

    def told(epochs):
        sft = SftParams(epochs=epochs)
        tables = draws().reset_index(), training(sft=sft).reset_index()
        table = costs.reckon(*tables, SIZE, knobs, {})
        return summarise_estimate(table, *tables, size, knobs, {"memory": 24.0})

    assert "optimizer steps: sft 2, m1 2, m2 2, m3 2." in told(2)
    assert "WARNING: sft: 2 optimizer steps can hardly teach" in told(2)
    assert "`sft.batch_size` (now 16)" in told(2)
    assert "WARNING: sft" not in told(40)
    assert "WARNING: m2: 2 optimizer steps" in told(40)
    assert "Give more pairs, lower `dpo.batch_size`" in told(40)


def test_a_cpu_draws_in_batches_that_fit_its_cache():
    """A CPU holds at most two GiB of keys and values, as the engine; a GPU those of all rows."""
    tables = draws().reset_index(), training().reset_index()

    def held(device):
        size = {**SIZE, "kv_size": 1e6}
        return costs.memory(*tables, size, estimate(device=device, rows=512))["drawing"]

    assert held("two_cpu_cores") == pytest.approx(2, abs=0.1)
    assert held("h200") > 100


def test_auto_is_the_precision_of_the_engines():
    """float32 on a CPU, bfloat16 on a GPU."""
    assert estimate(dtype="auto").width == 4
    assert estimate(dtype="auto", device="h200").width == 2
    assert estimate(device="h200").width == 4


def test_the_machine_says_what_memory_it_has(monkeypatch):
    """In GiB."""
    monkeypatch.setattr(machine, "memory", lambda: 24 * 2**30)
    assert MachineDataset().load() == {"memory": 24.0}


def test_the_machine_says_what_gpus_it_has(monkeypatch):
    """Where replicas may use them; a cluster's figures are those of its nodes."""
    monkeypatch.setattr(machine, "memory", lambda: 24 * 2**30)
    monkeypatch.setattr(machine, "gpus", lambda: {"gpus": 8.0, "gpu": "NVIDIA H200"})
    here = MachineDataset(replicas={"address": None}).load()
    assert here == {"memory": 24.0, "gpus": 8.0, "gpu": "NVIDIA H200"}
    nodes = {"nodes": 2.0, "gpus": 16.0, "gpu": "H100", "memory": 900.0}
    monkeypatch.setattr(values, "machines_of", {"HOST:6379": nodes}.get)
    assert MachineDataset(replicas={"address": "HOST:6379"}).load() == nodes


@pytest.mark.parametrize(
    ("visible", "count"), [(None, 2), ("0,1", 2), ("1", 1), ("", 0), ("0,1,2", 2)]
)
def test_gpus_are_counted_without_a_library(tmp_path, monkeypatch, visible, count):
    """By the driver's files; a process may be allowed fewer."""
    for number in range(2):
        (tmp_path / f"0000:{number}").mkdir()
        text = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 20\n"
        (tmp_path / f"0000:{number}/information").write_text(text)
    monkeypatch.setattr(machine, "GPUS", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpus() == {"gpus": count, "gpu": "NVIDIA H200" if count else ""}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"memory": 24.0}, ("cpu", 1)),
        ({"gpus": 0.0, "gpu": ""}, ("cpu", 1)),
        ({"gpus": 8.0, "gpu": "NVIDIA H200"}, ("h200", 8)),
        ({"gpus": 16.0, "gpu": "H100", "nodes": 2.0}, ("h100_80gb", 16)),
    ],
)
def test_auto_is_what_the_run_would_use(found, expected):
    """A number or a device that is given stays."""
    knobs = estimate(device="auto", devices="auto").on(found)
    assert (knobs.device, knobs.devices) == expected
    given = estimate(device="a100_80gb", devices=4).on(found)
    assert (given.device, given.devices) == ("a100_80gb", 4)


def test_unknown_gpus_are_refused():
    """The message names them and says what to set."""
    with pytest.raises(InputError, match=r"4 GPUs 'GFX942'.*`estimate.device`"):
        estimate(device="auto").on({"gpus": 4.0, "gpu": "GFX942"})


def test_the_text_knows_the_cluster_and_its_slowest_stage():
    """Devices, nodes, and what takes most of the time."""
    knobs = estimate(device="auto", devices="auto")
    cluster = {"memory": 900.0, "gpus": 16.0, "gpu": "H200", "nodes": 2.0}
    tables = draws().reset_index(), training().reset_index()
    size = {**SIZE, "model": "m", "source": "stated"}
    table = costs.reckon(*tables, SIZE, knobs, cluster)
    text = summarise_estimate(table, *tables, size, knobs, cluster)
    assert "16 x h200, on 2 nodes of the cluster" in text
    slowest = table.loc[table["hours"].idxmax()]
    assert f"slowest: {slowest['stage']} ({slowest['model']}), " in text
    assert "estimate.device=cpu" not in text


def test_both_tables_of_the_summary_have_a_header():
    """The header says what the rows and the columns are."""
    tables = draws().reset_index(), training().reset_index()
    size = {**SIZE, "model": "m", "source": "stated"}
    table = costs.reckon(*tables, size, estimate(), {})
    text = summarise_estimate(table, *tables, size, estimate(), {"memory": 24.0})
    heads = [line.split() for line in text.splitlines() if line.endswith(" time")]
    columns = ["read", "computed", "drawn", "trained", "on", "examples", "time"]
    assert heads == [["model", *columns], ["stage", *columns]]


def test_a_cpu_does_more_per_second_with_a_model_that_is_not_tiny():
    """With a tiny one most of the time goes into calls. A GPU has one set of figures."""
    tiny, small = (device_for("two_cpu_cores", parameters) for parameters in (8e5, 1.35e8))
    assert small.decode > 2 * tiny.decode
    assert small.training > tiny.training
    assert device_for("h100_80gb", 8e5) == device_for("h100_80gb", 1.35e8)
