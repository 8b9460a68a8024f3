"""Llama-shaped models with random weights, and texts of exact length, made on the spot."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer

from srlm_kedro.records import Checkpoint

SPECIAL = ("<pad>", "</s>", "<unk>", "<user>", "<assistant>")
HEADER = ("please", "answer")
BEFORE = ("<user>", *HEADER)
"""Tokens before a user's text; behind it stands one, `<assistant>`."""
_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}"
    f"{' '.join(BEFORE)} "
    "{{ m['content'] }} {% else %}<assistant> {{ m['content'] }} </s> {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_SPREAD = 2.24
"""Standard deviation of the logits: at temperature 0.7 about 4 nats, as of a trained model."""


@dataclass(frozen=True)
class Shape:
    """A Llama with tied embeddings."""

    name: str
    layers: int
    width: int
    heads: int
    mlp: int
    vocabulary: int = 8192
    key_heads: int | None = None
    """Heads of the keys and values; None: as many as `heads`."""

    @property
    def key_width(self) -> int:
        """Width of a token's keys, and of its values."""
        return self.width // self.heads * (self.key_heads or self.heads)

    @property
    def layer_weights(self) -> int:
        """Weights of all layers' matrices: four of attention, three of the feed-forward block."""
        attention = 2 * self.width * (self.width + self.key_width)
        return self.layers * (attention + 3 * self.width * self.mlp)

    @property
    def head_weights(self) -> int:
        """Weights of the output layer."""
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All weights but the norms'."""
        return self.layer_weights + self.head_weights


TINY = Shape("tiny", layers=2, width=32, heads=2, mlp=64, vocabulary=128)
SMALL = Shape("5M", layers=4, width=256, heads=4, mlp=688)
MEDIUM = Shape("23M", layers=6, width=512, heads=8, mlp=1376)
LARGE = Shape("110M", layers=12, width=768, heads=12, mlp=2048, vocabulary=32_000)


def make(shape: Shape, folder: Path) -> Checkpoint:
    """A checkpoint of this shape with random weights, the same at every call."""
    tokenizer = _tokenizer(shape.vocabulary)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=_SPREAD / shape.width**0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder, "m0")


def shape_of(checkpoint: Checkpoint, name: str) -> Shape:
    """The shape of a Llama on disk."""
    config = AutoConfig.from_pretrained(checkpoint.path)
    return Shape(
        name,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        mlp=config.intermediate_size,
        vocabulary=config.vocab_size,
        key_heads=config.num_key_value_heads,
    )


def read(checkpoint: Checkpoint, dtype: str, device: str) -> Any:
    """The model as Hugging Face's users hold it: in evaluation mode, on the device."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=getattr(torch, dtype))
    return model.to(device).eval()


def read_tokenizer(checkpoint: Checkpoint) -> Any:
    """Its tokenizer; padding goes to the left."""
    return FastTokenizer.from_pretrained(checkpoint.path, padding_side="left")


def words(count: int, shape: Shape, chance: random.Random) -> str:
    """A text of `count` words, each one token."""
    plain = shape.vocabulary - len(SPECIAL) - len(HEADER)
    return " ".join(f"w{chance.randrange(plain)}" for _ in range(count))


def _tokenizer(vocabulary: int) -> FastTokenizer:
    plain: Sequence[str] = [f"w{n}" for n in range(vocabulary - len(SPECIAL) - len(HEADER))]
    names = (*SPECIAL, *HEADER, *plain)
    core = Tokenizer(WordLevel({name: n for n, name in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return FastTokenizer(
        tokenizer_object=core,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>"],
        chat_template=_TEMPLATE,
    )
