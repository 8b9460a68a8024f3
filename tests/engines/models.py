"""Tiny models with random weights, made on the spot."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from srlm_kedro.records import Checkpoint

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<user>", "<assistant>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CHATML_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = (
    "Review the user's question and the corresponding response. Score: 5",
    "Name three trees that grow near a river and say why they grow there.",
    "The oak, the elm and the pine grow where the ground is wet in spring.",
    "What is the capital of France? It is Paris, a city of two million people.",
    "Write a short poem about the sea. The sea is wide and blue and cold.",
)


def word_tokenizer(words: int, template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Words w0, w1, ...; a special token that is written out falls into unknown pieces."""
    names = [*SPECIAL, *(f"w{i}" for i in range(words))]
    pieces = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    core = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pieces
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>"],
        chat_template=template,
    )


def write_model(folder: Path, kind: str = "llama", words: int = 40, **config) -> Checkpoint:
    """A checkpoint whose logits are spread enough that the most probable token is clear."""
    tokenizer = word_tokenizer(words)
    tokenizer.save_pretrained(folder)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.4,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape | config))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return Checkpoint(folder, "m1")


def chatml_tokenizer(texts: Sequence[str] = CORPUS, vocab: int = 400) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the spot, with ChatML turns; it ends with <|im_end|>."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=CHATML_SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


def write_qwen2(
    folder: Path,
    texts: Sequence[str] = CORPUS,
    vocab: int = 400,
    hidden: int = 32,
    layers: int = 2,
    positions: int = 512,
    name: str = "m0",
) -> Checkpoint:
    """A Qwen2 checkpoint with random weights and the tokenizer of `chatml_tokenizer`.

    Args:
        folder: Where it is written.
        texts: What the tokenizer learns its pieces from.
        vocab: Most tokens; at least 259, the bytes and three special ones.
        hidden: Width; a multiple of 4.
        layers: Blocks.
        positions: Longest sequence in tokens.
        name: The checkpoint's place in the chain.
    """
    tokenizer = chatml_tokenizer(texts, vocab)
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return Checkpoint(folder, name)
