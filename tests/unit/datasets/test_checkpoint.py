"""Checkpoints in the catalog, and what their folders must hold."""

import json
import re

import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.model_folder import checkpoint_faults
from srlm_kedro.datasets.models import CheckpointDataset
from srlm_kedro.records import Checkpoint


def safetensors(value=0):
    """The bytes of a file with one tensor of one byte."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes([value])


def model_folder(path, value=0):
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(safetensors(value))
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 3}))
    vocabulary = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 2}]}
    (path / "tokenizer.json").write_text(json.dumps(vocabulary))
    return path


def adapter_folder(path, base):
    model_folder(path)
    (path / "config.json").unlink()
    (path / "model.safetensors").rename(path / "adapter_model.safetensors")
    named = {"base_model_name_or_path": str(base)}
    (path / "adapter_config.json").write_text(json.dumps(named))
    return path


def test_saving_moves_the_folder_and_loading_gives_its_handle(tmp_path):
    """The engine's scratch folder becomes the catalog's, and the handle has the model's name."""
    dataset = CheckpointDataset(filepath=str(tmp_path / "models/m2"), name="m2")
    scratch = model_folder(tmp_path / "scratch")
    dataset.save(Checkpoint(scratch, "scratch"))
    assert dataset.load() == Checkpoint(tmp_path / "models/m2", "m2")
    assert not scratch.exists()


def test_saving_again_replaces_the_model_and_leaves_nothing_beside(tmp_path):
    """Every file of the older model is gone, and no half-written folder stays."""
    dataset = CheckpointDataset(filepath=str(tmp_path / "models/m2"), name="m2")
    dataset.save(Checkpoint(model_folder(tmp_path / "a", 1), "scratch"))
    (tmp_path / "models/m2/extra.json").write_text("{}")
    dataset.save(Checkpoint(model_folder(tmp_path / "b", 2), "scratch"))
    assert (tmp_path / "models/m2/model.safetensors").read_bytes() == safetensors(2)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["m2"]
    assert not (tmp_path / "models/m2/extra.json").exists()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("model.safetensors", "holds no \\*.safetensors"),
        ("config.json", "holds no config.json"),
        ("tokenizer.json", "holds no tokenizer .*copy it from the model"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused(tmp_path, broken, said):
    """The message names what is missing."""
    (model_folder(tmp_path / "m1") / broken).unlink()
    with pytest.raises(DatasetError, match=said):
        CheckpointDataset(filepath=str(tmp_path / "m1"), name="m1").load()


@pytest.mark.parametrize("text", ["not json", "{}"])
def test_a_config_that_is_none_is_refused(tmp_path, text):
    """A config.json must be JSON and name its architecture."""
    (model_folder(tmp_path / "m1") / "config.json").write_text(text)
    with pytest.raises(DatasetError, match="its config"):
        CheckpointDataset(filepath=str(tmp_path / "m1"), name="m1").load()


def test_a_missing_folder_is_refused(tmp_path):
    """The message says that there is no folder."""
    dataset = CheckpointDataset(filepath=str(tmp_path / "nowhere"), name="m1")
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="no such folder"):
        dataset.load()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LFS, "Git LFS pointer .*git lfs pull"),
        (safetensors()[:-1], "is cut off: 68 of 69 bytes"),
        (safetensors()[:40], "is cut off or no safetensors"),
        (b"", r"is cut off .*0 bytes"),
        (b"weights that are none", "is cut off or no safetensors"),
        ((2).to_bytes(8, "little") + b"no", "its header is no JSON"),
        ((2).to_bytes(8, "little") + b"[]", "its header is no JSON"),
    ],
)
def test_weights_that_cannot_be_whole_are_refused(tmp_path, content, said):
    """The header of the file says how long the file must be; only the header is read."""
    (model_folder(tmp_path / "m1") / "model.safetensors").write_bytes(content)
    with pytest.raises(DatasetError, match=said):
        CheckpointDataset(filepath=str(tmp_path / "m1"), name="m1").load()


def test_pickles_are_refused_and_the_way_out_is_named(tmp_path):
    """Reading pickles would run code."""
    folder = model_folder(tmp_path / "m1")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (fault,) = checkpoint_faults(folder)
    assert "pytorch_model.bin" in fault
    assert "save_pretrained" in fault


def test_a_shard_that_the_index_names_must_be_there(tmp_path):
    """An incomplete download is no model."""
    folder = model_folder(tmp_path / "m1")
    index = {"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert checkpoint_faults(folder) == ["it lacks model-2.safetensors, which its index names"]


@pytest.mark.parametrize(
    ("tokenizer", "config", "said"),
    [
        ({"model": {"vocab": {"a": 3}}}, {"vocab_size": 3}, "ids up to 3, .*vocab_size is 3"),
        ({"added_tokens": [{"id": 7}]}, {"vocab_size": 3}, "ids up to 7"),
        ({"model": {"vocab": [["a", 0.0]] * 5}}, {"vocab_size": 3}, "ids up to 4"),
        ({"model": {"vocab": {"a": 9}}}, {"text_config": {"vocab_size": 9}}, "ids up to 9"),
        ({"model": {"vocab": {"a": 2}}}, {"vocab_size": 3}, None),
        ({"model": {"vocab": {"a": 2}}}, {}, None),
    ],
)
def test_a_tokenizer_must_fit_the_models_vocabulary(tmp_path, tokenizer, config, said):
    """A token id without an embedding would fail in the middle of a run."""
    folder = model_folder(tmp_path / "m1")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    faults = checkpoint_faults(folder)
    assert bool(faults) is bool(said)
    if said:
        assert re.search(said, faults[0])


IMAGE = {"id": 3, "content": "<image>", "special": True}


@pytest.mark.parametrize(
    ("token", "model", "settings", "template", "said"),
    [
        (IMAGE, {}, {}, None, None),
        (IMAGE, {"type": "BPE", "vocab": {"a": 0, "<image>": 3}}, {}, None, None),
        (IMAGE | {"special": False}, {}, {}, None, "ids up to 3"),
        (IMAGE, {"type": "WordLevel", "vocab": {"a": 0, "<image>": 3}}, {}, None, "ids up to 3"),
        (IMAGE, {}, {"pad_token": "<image>"}, None, "special token <image>, id 3"),
        (IMAGE, {}, {"eos_token": {"content": "<image>"}}, None, "special token <image>"),
        (IMAGE, {}, {"chat_template": "<image>{{ messages }}"}, None, "special token <image>"),
        (IMAGE, {}, {}, "{{ messages }}<image>", "special token <image>"),
        (IMAGE, {}, {"image_token": "<image>"}, "{{ messages }}", None),
    ],
)
def test_a_special_token_needs_no_embedding_if_nothing_writes_it(
    tmp_path, token, model, settings, template, said
):
    """Gemma 3's placeholder for images has no embedding in its models of text."""
    folder = model_folder(tmp_path / "m1")
    content = {"model": {"vocab": {"a": 0}} | model, "added_tokens": [token]}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    faults = checkpoint_faults(folder)
    assert bool(faults) is bool(said), faults
    if said:
        assert said in faults[0]


def test_what_is_put_around_every_text_must_have_an_embedding(tmp_path):
    """A post-processor's opening token is fed with each prompt."""
    folder = model_folder(tmp_path / "m1")
    around = {"type": "TemplateProcessing", "special_tokens": {"<image>": {"ids": [3]}}}
    content = {"model": {"vocab": {"a": 0}}, "added_tokens": [IMAGE], "post_processor": around}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (fault,) = checkpoint_faults(folder)
    assert "special token <image>, id 3" in fault


def test_a_tokenizer_that_is_a_pointer_is_refused(tmp_path):
    """Large tokenizers are kept in Git LFS too."""
    (model_folder(tmp_path / "m1") / "tokenizer.json").write_bytes(LFS)
    assert "Git LFS" in checkpoint_faults(tmp_path / "m1")[0]


def test_an_adapters_folder_is_a_checkpoint(tmp_path):
    """An adapter has no config.json, and its base model must exist."""
    base = model_folder(tmp_path / "m0")
    folder = adapter_folder(tmp_path / "m1", base)
    dataset = CheckpointDataset(filepath=str(folder), name="m1")
    assert dataset.load() == Checkpoint(folder, "m1")
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"the base model .*m0\) is no folder"):
        dataset.load()


def test_every_fault_is_named_at_once(tmp_path):
    """The folder is an adapter without weights, base model and tokenizer."""
    folder = adapter_folder(tmp_path / "m1", "nowhere")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "tokenizer.json").unlink()
    said = " ".join(checkpoint_faults(folder))
    for part in ("no adapter_model.safetensors", "nowhere", "no tokenizer"):
        assert part in said
