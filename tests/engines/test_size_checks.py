"""Tokenizers and weights that do not fit a model's configuration are refused before a run."""

import json

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from srlm_kedro.datasets.model_folder import checkpoint_faults
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.llm_referee import LlmReferee
from tests.engines.models import word_tokenizer, write_model

BEYOND = r"{token!r} has the id {number}, but the model has {size} embeddings \(ids 0 to"
COMPARE = "{prompt} {first} {second} [[A]] [[B]] [[C]]"


def changed(folder, file, **values):
    """Writes values into a JSON file of the folder, which need not be there."""
    path = folder / file
    held = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(held | values), "utf-8")


def added_by_settings(folder):
    """A token that tokenizer_config.json adds, and that tokenizer.json does not know."""
    model = write_model(folder, words=40)
    token = {"content": "extra", "special": False, "normalized": True}
    token |= {"lstrip": False, "rstrip": False, "single_word": False}
    changed(folder, "tokenizer_config.json", added_tokens_decoder={"46": token})
    return model


def added_by_its_own_file(folder):
    """A token in added_tokens.json, where older tokenizers keep them."""
    model = write_model(folder, words=40)
    changed(folder, "added_tokens.json", extra=46)
    return model


def an_end_without_embedding(folder):
    """The special token after every response has no embedding."""
    model = write_model(folder, words=40)
    changed(folder, "tokenizer_config.json", eos_token="<end>")
    return model


def on_an_adapter(folder):
    """The embeddings are those of the base, which is in another folder."""
    base = write_model(folder / "base", words=40)
    model = AutoModelForCausalLM.from_pretrained(base.path)
    learnt = get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
    learnt.save_pretrained(folder / "adapter")
    word_tokenizer(60).save_pretrained(folder / "adapter")
    return Checkpoint(folder / "adapter", "m1")


def without_tokenizer_json(folder):
    """Only the files from which a library makes the tokenizer."""
    model = write_model(folder, kind="gpt2", words=14)
    (folder / "tokenizer.json").unlink()
    pieces = {chr(33 + number): number for number in range(30)}
    (folder / "vocab.json").write_text(json.dumps(pieces | {"<|endoftext|>": 30}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "!"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return model


@pytest.mark.parametrize(
    ("make", "token", "number", "size"),
    [
        (added_by_settings, "extra", 46, 46),
        (added_by_its_own_file, "extra", 46, 46),
        (an_end_without_embedding, "<end>", 46, 46),
        (on_an_adapter, "w40", 46, 46),
        (without_tokenizer_json, "5", 20, 20),
    ],
)
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is depr:FutureWarning")
@pytest.mark.parametrize("engine", [TransformersEngine, TrlEngine])
def test_a_tokenizer_larger_than_the_embeddings_is_refused(
    tmp_path, engine, make, token, number, size
):
    """Both engines refuse it before a run, and name the token and both sizes."""
    model = make(tmp_path)
    assert checkpoint_faults(model.path) == []  # its files alone do not tell
    said = BEYOND.format(token=token, number=number, size=size)
    with pytest.raises(InputError, match=said):
        engine(device="cpu").refuse_unfit(model)


@pytest.mark.parametrize("engine", [TransformersEngine, TrlEngine])
def test_a_special_token_that_nothing_writes_may_lie_beyond(tmp_path, engine):
    """Placeholders for images in models of text are such tokens."""
    model = write_model(tmp_path, words=40)
    tokenizer = word_tokenizer(40)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<image>"]}, replace_extra_special_tokens=False
    )
    tokenizer.save_pretrained(tmp_path)
    engine(device="cpu").refuse_unfit(model)


def test_weights_of_other_sizes_are_named_with_both(tmp_path):
    """The message names both sizes; the library says only that sizes mismatch."""
    model = write_model(tmp_path, words=40)
    changed(tmp_path, "config.json", vocab_size=50)
    said = r"lm_head.weight is 46 x 32, by config.json 50 x 32"
    with pytest.raises(InputError, match=said):
        TransformersEngine(device="cpu").refuse_unfit(model)


def test_a_referees_own_model_is_looked_at_too(tmp_path):
    """The referee compares at the very end of a run, so its model is checked before."""
    added_by_settings(tmp_path)
    engine = TransformersEngine(device="cpu")
    referee = LlmReferee(engine, COMPARE, model_path=str(tmp_path))
    with pytest.raises(InputError, match="'extra' has the id 46"):
        referee.refuse_unready()
    LlmReferee(engine, COMPARE, model="gpt").refuse_unready()  # a server's: nothing to look at
