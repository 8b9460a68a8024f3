"""Models that think before they answer: templates in the style of several families, and tiny
checkpoints that recite what a test wants them to say."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from srlm_kedro.records import Checkpoint
from tests.engines.models import SPECIAL, chatml_tokenizer

HYBRID = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
"""It lets the model open its thought, or not think at all (as Qwen3)."""
OPENING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
"""It opens the thought, and writes answers without one (as R1 and QwQ)."""
BRACKETS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% if loop.first %}Think between [THINK] and [/THINK]. {% endif %}"
    "<|im_start|>{{ m['content'] }}{% else %}<|im_end|>{{ m['content'] }}<|im_end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_end|>{% endif %}"
)
"""Marks that are special tokens; the system's words name them (as Magistral)."""
CHANNELS = (
    "{% for m in messages %}<|start|>{{ m['role'] }}"
    "{% if m['role'] == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ m['content'] }}"
    "{{ '<|return|>' if m['role'] == 'assistant' else '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
"""Harmony: each message on a channel (as gpt-oss)."""
DATED = (
    "{% if day is not defined %}{% if strftime_now is defined %}"
    "{% set day = strftime_now('%d %b %Y') %}{% else %}{% set day = 'some day' %}{% endif %}"
    "{% endif %}Today: {{ day }}\n"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""It prints today's date (as Llama 3.2)."""
HARMONY_TOKENS = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"]


def tokenizer_of(template: str) -> PreTrainedTokenizerFast:
    """Pieces of bytes; marks are tokens, special where the families have them so."""
    tokenizer = chatml_tokenizer()
    special = ["[THINK]", "[/THINK]", *HARMONY_TOKENS]
    tokenizer.add_tokens([AddedToken(name, special=True) for name in special])
    tokenizer.add_tokens([AddedToken(mark, special=False) for mark in ("<think>", "</think>")])
    tokenizer.chat_template = template
    return tokenizer


def write_reciter(
    folder: Path, script: Sequence[str], template: str, positions: int = 4096
) -> Checkpoint:
    """A model whose every token follows from the one before it: what it says is `script`.

    The script begins with the last token of the rendered prompt; no token stands in it twice. A
    token is a word; marks with brackets are special tokens, as they are in Magistral.
    """
    words = [word for word in script if word not in SPECIAL]
    names = [*SPECIAL, *words, "Today:"]
    core = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        **{"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
        additional_special_tokens=["<user>", "<assistant>"],
        chat_template=template,
    )
    marks = [word for word in words if word.startswith(("<", "["))]
    tokenizer.add_tokens([AddedToken(mark, special=mark.startswith("[")) for mark in marks])
    tokenizer.save_pretrained(folder)
    model = _successions(tokenizer, script, positions)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return Checkpoint(folder, "m1")


def _successions(tokenizer: Any, script: Sequence[str], positions: int) -> LlamaForCausalLM:
    width = -(-len(tokenizer) // 8) * 8
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    ids = tokenizer.convert_tokens_to_ids(list(script))
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 2:
                weights.zero_()
        model.model.embed_tokens.weight[:, : len(tokenizer)] = torch.eye(len(tokenizer))
        for one, following in pairwise(ids):
            model.lm_head.weight[following, one] = 50.0
    return model


RECITING_VLLM = """
from tests.engines.vllm_http import serve

def recite(body):
    said = {said}
    print("stop strings:", body["stop"], flush=True)
    return {"token_ids": said["ids"], "finish_reason": said["finish"]}

serve(lambda options: recite, longest=4096)
"""


def reciting_vllm(ids: Sequence[int], finish: str) -> str:
    """The source of a stand-in for vLLM that returns these tokens for every prompt."""
    return RECITING_VLLM.replace("{said}", json.dumps({"ids": list(ids), "finish": finish}))
