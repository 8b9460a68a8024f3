"""The Hugging Face folder that is made from a GGUF file."""

import json
import socket
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.engines.gguf.convert import convert
from srlm_kedro.engines.gguf.header import read_header
from srlm_kedro.engines.weights import read_model, read_tokenizer
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import content_digest
from srlm_kedro.records import Checkpoint

pytest.importorskip("gguf")

from tests.gguf_files import TOKENS, WIDTH, write_gguf

IDS = torch.tensor([[1, 40, 260, 90, 7, 2, 100]])


def converted(file, folder, dtype="float32"):
    convert(file, read_header(file), folder, dtype)
    return Checkpoint(folder, "m0")


@pytest.mark.parametrize(
    "case",
    [
        {"kind": "F32"},
        {"kind": "F16", "tied": False},
        {"kind": "Q8_0"},
        {"kind": "Q4_1", "tied": False},
        {"kind": "Q8_0", "architecture": "qwen2"},
    ],
    ids=lambda case: "-".join(map(str, case.values())),
)
def test_it_is_the_model_that_transformers_reads(tmp_path, case):
    """The folder's logits are those of transformers' own reading of the file, bit for bit."""
    file = write_gguf(tmp_path / "tiny.gguf", **case)
    made = read_model(converted(file, tmp_path / "made"), torch.float32)
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32)
    with torch.no_grad():
        expected = read(IDS).logits
        assert torch.equal(made(IDS).logits, expected)
    assert expected.std() > 0.1
    assert type(made) is type(read)
    assert made.config.tie_word_embeddings == case.get("tied", True)
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    assert "quantization_config" not in config
    assert str(tmp_path) not in json.dumps(config)


def test_the_tokenizer_comes_along(tmp_path):
    """Texts have the tokens of the file's tokenizer, and the chat template is the file's."""
    file = write_gguf(tmp_path / "tiny.gguf")
    made = read_tokenizer(converted(file, tmp_path / "made"))
    read = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    text = "ab ab <|im_end|> Straße"
    assert made(text)["input_ids"] == read(text)["input_ids"]
    assert TOKENS.index("Ġab") in made(text)["input_ids"]
    chat = [{"role": "user", "content": "ab"}]
    rendered = made.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
    assert made.eos_token == "<|im_end|>"


def test_the_engine_draws_from_it(tmp_path):
    """It is a checkpoint like any other, with a chat template or without one."""
    file = write_gguf(tmp_path / "tiny.gguf", "Q8_0", template=None)
    model = converted(file, tmp_path / "made")
    engine = TransformersEngine(dtype="float32", device="cpu", threads=1)
    engine.refuse_unfit(model)
    sampling = Sampling(temperature=0.0, max_new_tokens=4)
    ((completion,),) = engine.generate(model, [Request("a", "ab")], sampling, 0)
    assert completion.drawn > 0


def test_tied_weights_are_written_once(tmp_path):
    """A tied model's file has the embeddings alone; an untied one has the output's weights too."""
    for tied in (True, False):
        file = write_gguf(tmp_path / f"{tied}.gguf", tied=tied)
        folder = converted(file, tmp_path / f"made-{tied}").path
        with safe_open(folder / "model.safetensors", "pt") as weights:
            assert ("lm_head.weight" in weights.keys()) is not tied  # noqa: SIM118


def test_bfloat16_rounds_the_float32_weights(tmp_path):
    """Every weight is the nearest of half the size, and the configuration says so."""
    file = write_gguf(tmp_path / "tiny.gguf", "Q4_1")
    whole = load_file(converted(file, tmp_path / "whole").path / "model.safetensors")
    half = load_file(converted(file, tmp_path / "half", "bfloat16").path / "model.safetensors")
    assert whole.keys() == half.keys()
    for name, weight in whole.items():
        assert torch.equal(weight.to(torch.bfloat16), half[name])
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"


def test_the_same_file_gives_the_same_bytes(tmp_path, monkeypatch):
    """Wherever the file is, and whatever lies in the working folder; no socket is opened."""
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("the network was asked"))
    (tmp_path / "a").mkdir()
    first = write_gguf(tmp_path / "tiny.gguf", "Q8_0")
    second = tmp_path / "a" / "tiny.gguf"
    second.write_bytes(first.read_bytes())
    made = converted(first, tmp_path / "made").path
    (tmp_path / "b").mkdir()
    write_gguf(tmp_path / "b" / "tiny.gguf", seed=1)
    monkeypatch.chdir(tmp_path / "b")
    again = converted(second, tmp_path / "again").path
    assert content_digest(made) == content_digest(again)


def test_the_sizes_of_the_header_are_the_models(tmp_path):
    """Parameters, widths and vocabulary, read without the weights."""
    for tied in (True, False):
        header = read_header(write_gguf(tmp_path / f"{tied}.gguf", "Q4_1", tied=tied))
        model = read_model(
            converted(tmp_path / f"{tied}.gguf", tmp_path / f"made-{tied}"), torch.float32
        )
        assert header.sizes() == {
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "layers": 2,
            "hidden_size": WIDTH,
            "kv_size": WIDTH // 2,
            "vocabulary": len(TOKENS),
        }


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"architecture": "mollusc"}, ["mollusc", "transformers must be able to read"]),
        ({"without": ["blk.1.ffn_up.weight"]}, ["every weight of a LlamaForCausalLM", "layers.1"]),
        ({"cut": 100}, ["If the file is whole"]),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, case, words):
    """A foreign architecture, a missing weight, a file that is cut off within its last tensor."""
    cut = {"cut": 0, **case}["cut"]
    file = write_gguf(tmp_path / "tiny.gguf", **{k: v for k, v in case.items() if k != "cut"})
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - cut)
    with pytest.raises(InputError) as caught:
        converted(file, tmp_path / "made")
    for word in [str(file), *words]:
        assert word in str(caught.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", [OSError, Exception])
def test_whatever_the_libraries_raise_is_a_refusal(tmp_path, monkeypatch, kind):
    """Except what the disk says, which is not the file's fault."""
    file = write_gguf(tmp_path / "tiny.gguf")

    def fail(*_, **__):
        raise kind("odd")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(InputError, match=r"it says: .*odd"):
        converted(file, tmp_path / "made")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        converted(file, tmp_path / "made")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    """The message says which extra brings it."""
    file = write_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(InputError, match=r"pip install 'srlm_kedro\[gguf\]'"):
        converted(file, tmp_path / "made")
