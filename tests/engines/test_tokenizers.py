"""One prompt has the same token ids in sampling, judging, SFT and DPO, for any tokenizer."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.datasets.model_folder import checkpoint_faults
from srlm_kedro.engines import chat
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.generation.tiered.tiered_rows import TieredDecoder
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.engines.training.trl.policy import load_policy, load_tokenizer
from srlm_kedro.engines.training.trl.token_rows import dpo_rows, sft_rows
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint, Example, Preference
from tests.engines.models import TEMPLATE, write_model, write_qwen2
from tests.engines.tuning import DPO, EXAMPLES, PAIRS, SFT, weights_hash

PROMPT = "w1 w2"


def with_tokenizer(source: Checkpoint, folder, *gone: str, **changes) -> Checkpoint:
    """The checkpoint in `folder`, with another tokenizer_config.json."""
    if folder != source.path:
        shutil.copytree(source.path, folder, dirs_exist_ok=True)
    file = folder / "tokenizer_config.json"
    settings = {k: v for k, v in json.loads(file.read_text()).items() if k not in gone} | changes
    file.write_text(json.dumps(settings))
    return Checkpoint(folder, source.name)


def qwen2(folder) -> Checkpoint:
    return write_qwen2(folder)


def base_qwen2(folder) -> Checkpoint:
    """Like Qwen2.5's base models: the template ends a turn with another token than a text."""
    model = with_tokenizer(write_qwen2(folder), folder, eos_token="<|endoftext|>")
    for name in ("config.json", "generation_config.json"):
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": 0}))
    return model


def plain_base(folder) -> Checkpoint:
    """No chat template and no padding token."""
    write_model(folder)
    (folder / "chat_template.jinja").unlink()
    return with_tokenizer(Checkpoint(folder, "m0"), folder, "pad_token", "chat_template")


def own_bos(folder) -> Checkpoint:
    """The template writes the opening token, and the tokenizer would add one too."""
    model = write_model(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    file.write_text(json.dumps(content))
    return model


KINDS = {f.__name__: f for f in (qwen2, base_qwen2, plain_base, own_bos)}
OPENINGS = {
    "qwen2": ["<|im_start|>"],
    "base_qwen2": ["<|im_start|>"],
    "plain_base": ["<s>"],
    "own_bos": ["<s>", "<user>"],
}
ENDS = {
    "qwen2": "<|im_end|>",
    "base_qwen2": "<|im_end|>",
    "plain_base": "</s>",
    "own_bos": "</s>",
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def model(kind, tmp_path_factory) -> Checkpoint:
    return KINDS[kind](tmp_path_factory.mktemp(kind))


@pytest.fixture
def prefilled(monkeypatch):
    """Ids that reach a model's first pass in sampling."""
    seen: list[list[int]] = []
    plain = TieredDecoder.admit
    monkeypatch.setattr(
        TieredDecoder,
        "admit",
        lambda decoder, prompts, copies: seen.extend(prompts) or plain(decoder, prompts, copies),
    )
    return seen


def test_all_four_ways_see_the_same_ids(kind, model, prefilled):
    """Sampling, judging, SFT and DPO see the prompt as one sequence of ids."""
    requests = [Request("answer", PROMPT), Request("judge", PROMPT)]
    TransformersEngine(device="cpu", threads=1).generate(
        model, requests, Sampling(max_new_tokens=2), seed=1
    )
    tokenizer = load_tokenizer(model)
    (sft,) = sft_rows(tokenizer, [Example(PROMPT, "w3")])
    (dpo,) = dpo_rows(tokenizer, [Preference(PROMPT, "w3", "w4 w4")])
    count = sft["labels"].count(-100)
    answered, judged = prefilled[-2:]
    assert answered == judged == sft["input_ids"][:count] == dpo["prompt_ids"]
    assert sft["input_ids"][count:] == dpo["chosen_ids"]
    names = tokenizer.convert_ids_to_tokens(dpo["prompt_ids"])
    assert names[: len(OPENINGS[kind])] == OPENINGS[kind]
    assert names.count(OPENINGS[kind][0]) == (2 if "qwen2" in kind else 1)


def test_what_training_ends_with_stops_sampling(kind, model):
    """The last id of every target ends the turn, and stops sampling."""
    tokenizer = load_tokenizer(model)
    end = tokenizer.convert_tokens_to_ids(ENDS[kind])
    (sft,) = sft_rows(tokenizer, [Example(PROMPT, "w3")])
    (dpo,) = dpo_rows(tokenizer, [Preference(PROMPT, "w3", "w4 w4")])
    assert {sft["labels"][-1], dpo["chosen_ids"][-1], dpo["rejected_ids"][-1]} == {end}
    assert end in load(model, "float32", "cpu").ends


def test_a_cut_text_gets_no_end_in_training(kind, model):
    """In SFT and DPO, a cut text's row is that of the whole text without its end token."""
    tokenizer = load_tokenizer(model)
    whole, cut = sft_rows(
        tokenizer, [Example(PROMPT, "w3 w4"), Example(PROMPT, "w3 w4", complete=False)]
    )
    assert cut == {name: ids[:-1] for name, ids in whole.items()}
    texts = (PROMPT, "w3", "w4 w4")
    both, neither, chosen, rejected = dpo_rows(
        tokenizer,
        [
            Preference(*texts),
            Preference(*texts, chosen_complete=False, rejected_complete=False),
            Preference(*texts, chosen_complete=False),
            Preference(*texts, rejected_complete=False),
        ],
    )
    ended = {name: ids[:-1] for name, ids in both.items()} | {"prompt_ids": both["prompt_ids"]}
    assert neither == ended
    assert chosen == {**both, "chosen_ids": ended["chosen_ids"]}
    assert rejected == {**both, "rejected_ids": ended["rejected_ids"]}


def test_the_trained_model_stops_for_other_programs_too(trainer, tmp_path_factory):
    """The new generation config names the turn's end, even if the model's did not."""
    model = base_qwen2(tmp_path_factory.mktemp("base"))
    made = trainer.sft(model, [Example("Name three trees.", "Oak, elm, pine.")], SFT, 1).checkpoint
    saved = AutoModelForCausalLM.from_pretrained(made.path).generation_config
    assert saved.eos_token_id == [0, 2]


def test_every_kind_is_trained_and_sampled(trainer, kind, model):
    """A missing padding token does not matter, even with rows of several lengths."""
    examples = [Example(PROMPT, "w3 w4 w5"), Example("w1", "w3")]
    made = trainer.sft(model, examples, SFT, 1)
    assert made.log[-1]["loss"] < made.log[0]["loss"]
    preferences = [Preference(e.prompt, e.completion, "w6 w6") for e in examples]
    made = trainer.dpo(made.checkpoint, made.checkpoint, preferences, DPO, 1)
    drawn = TransformersEngine(device="cpu", threads=1).generate(
        made.checkpoint, [Request("1", PROMPT), Request("2", "w1")], Sampling(max_new_tokens=4), 1
    )
    assert len(drawn) == 2


@pytest.mark.parametrize(
    "changes", [{"padding_side": "left"}, {"padding_side": "right"}, {"pad_token": "<unk>"}]
)
@pytest.mark.parametrize("gone", [(), ("pad_token",)])
def test_padding_is_nobodys_business(trainer, checkpoint, tmp_path_factory, changes, gone):
    """The side and the token of padding change no bit of training and no completion."""
    other = with_tokenizer(checkpoint, tmp_path_factory.mktemp("other"), *gone, **changes)
    sampler = TransformersEngine(device="cpu", threads=1)
    sampling = Sampling(n=2, max_new_tokens=6)
    requests = [Request("1", "w1 w2 w3"), Request("2", "w4")]
    results = [
        (
            weights_hash(trainer.sft(model, EXAMPLES, SFT, 1).checkpoint),
            weights_hash(trainer.dpo(model, model, PAIRS, DPO, 1).checkpoint),
            sampler.generate(model, requests, sampling, seed=1),
        )
        for model in (checkpoint, other)
    ]
    assert results[0] == results[1]


def test_a_special_token_without_an_embedding_is_never_fed(trainer, tmp_path_factory, prefilled):
    """A user or a model that writes Gemma 3's placeholder for images writes plain text."""
    folder = tmp_path_factory.mktemp("image")
    model = write_qwen2(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    beyond = len(tokenizer)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<image>"]}, replace_extra_special_tokens=False
    )
    tokenizer.save_pretrained(folder)
    assert load_tokenizer(model).convert_tokens_to_ids("<image>") == beyond
    assert checkpoint_faults(folder) == []
    made = trainer.sft(model, [Example("An <image>?", "No <image>.")], SFT, 1).checkpoint
    TransformersEngine(device="cpu", threads=1).generate(
        made, [Request("p", "An <image>?")], Sampling(max_new_tokens=2), 1
    )
    assert max(map(max, prefilled)) < beyond


class TestEndOfTurn:
    @pytest.mark.parametrize(
        ("template", "end"),
        [
            ("{% for m in messages %}{{ m['content'] }}<unk>{% endfor %}", "<unk>"),
            ("{% for m in messages %}{{ m['content'] }} \n<unk></s>{% endfor %}", "<unk>"),
            ("{% for m in messages %}{{ m['content'] }} w1{% endfor %}", "</s>"),
            (TEMPLATE, "</s>"),
            (None, "</s>"),
        ],
    )
    def test_it_is_the_special_token_behind_an_answer(self, checkpoint, template, end):
        """Spaces do not count; without a special token it is the tokenizer's end token."""
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
        tokenizer.chat_template = template
        assert chat.end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids(end)

    def test_a_template_that_fails_is_named(self, checkpoint):
        """The message says where to look."""
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
        tokenizer.chat_template = "{{ raise_exception('no turns here') }}"
        with pytest.raises(InputError, match=r"no turns here.*chat template"):
            chat.end_of_turn(tokenizer)

    def test_a_tokenizer_without_any_end_is_refused(self, checkpoint, tmp_path):
        """Responses would never end."""
        endless = with_tokenizer(checkpoint, tmp_path / "endless", eos_token=None)
        with pytest.raises(InputError, match="no end token"):
            load_tokenizer(endless)


class TestRemoteCode:
    CODE = (
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class Config(LlamaConfig):\n    model_type = 'own'\n"
        "class Model(LlamaForCausalLM):\n    config_class = Config\n"
    )

    @pytest.fixture
    def own(self, checkpoint, tmp_path_factory) -> Checkpoint:
        """A Llama whose checkpoint needs its own Python code."""
        folder = tmp_path_factory.mktemp("own")
        shutil.copytree(checkpoint.path, folder, dirs_exist_ok=True)
        (folder / "own.py").write_text(self.CODE)
        file = folder / "config.json"
        config = json.loads(file.read_text()) | {
            "model_type": "own",
            "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
        }
        file.write_text(json.dumps(config))
        return replace(checkpoint, path=folder)

    def test_it_is_refused_unless_asked_for(self, own, trainer):
        """The message names the option."""
        for reading in (
            lambda: load(own, "float32", "cpu"),
            lambda: load_policy(own, 0.0),
            lambda: trainer.sft(own, EXAMPLES, SFT, 1),
        ):
            with pytest.raises(InputError, match="option trust_remote_code"):
                reading()

    def test_asked_for_it_runs_and_travels_with_the_model(self, own, tmp_path):
        """With the option it runs, and the new checkpoint holds the code."""
        trusting = TrlEngine(
            device="cpu", threads=1, work_dir=str(tmp_path), trust_remote_code=True
        )
        made = trusting.sft(own, EXAMPLES, SFT, 1).checkpoint
        assert (made.path / "own.py").is_file()
        model = load(made, "float32", "cpu", trust_remote_code=True).model
        assert type(model).__name__ == "Model"
        with torch.no_grad():
            assert model(torch.tensor([[6, 7]])).logits.isfinite().all()
