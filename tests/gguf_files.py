"""Tiny GGUF files with random weights, a byte-level tokenizer and a chat template."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants
from tokenizers.pre_tokenizers import ByteLevel

from tests.engines.models import CHATML, CHATML_SPECIAL

WIDTH, LAYERS, HEADS, KV_HEADS = 64, 2, 4, 2
_MERGES = [("a", "b"), ("Ġ", "ab"), ("Ġ", "c")]
TOKENS = [*CHATML_SPECIAL, *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in _MERGES)]
_KEYS = WIDTH // HEADS * KV_HEADS


def write_gguf(
    file: Path,
    kind: str = "F32",
    architecture: str = "llama",
    tied: bool = True,
    template: str | None = CHATML,
    layers: int = LAYERS,
    without: Collection[str] = (),
    more: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Writes a model; matrices have the type `kind`.

    Args:
        file: Where to write.
        kind: A type of ggml: `F32`, `F16`, `Q8_0`, `Q4_1`.
        architecture: `llama`, or `qwen2`, which also has biases.
        tied: Whether the embeddings are the output's weights too.
        template: The chat template.
        layers: How many layers the metadata state; there are two.
        without: Tensors to leave out, or `tokenizer`.
        more: Further fields: whole numbers and texts.
        seed: Of the weights.
    """
    writer = GGUFWriter(file, architecture)
    writer.add_name("tiny | `model`")
    writer.add_license("apache-2.0")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_file_type(0)
    for name, value in (more or {}).items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        add(name, value)
    if "tokenizer" not in without:
        _add_tokenizer(writer, template)
    random = np.random.default_rng(seed)
    for name, shape in _shapes(architecture, tied).items():
        if name not in without:
            values = random.normal(0, 0.4, shape).astype(np.float32)
            _add_tensor(writer, name, values, GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: GGUFWriter, template: str | None) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(CHATML_SPECIAL) + [1] * (len(TOKENS) - len(CHATML_SPECIAL)))
    writer.add_token_merges([" ".join(pair) for pair in _MERGES])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    if template:
        writer.add_chat_template(template)


def _shapes(architecture: str, tied: bool) -> dict[str, tuple[int, ...]]:
    square = (WIDTH, WIDTH)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(TOKENS), WIDTH)}
    for layer in range(LAYERS):
        one = {"attn_norm.weight": (WIDTH,), "ffn_norm.weight": (WIDTH,)}
        one |= {f"{name}.weight": square for name in ("attn_q", "attn_output")}
        one |= {f"ffn_{name}.weight": square for name in ("gate", "up", "down")}
        one |= {f"attn_{name}.weight": (_KEYS, WIDTH) for name in "kv"}
        if architecture == "qwen2":
            one |= {"attn_q.bias": (WIDTH,), "attn_k.bias": (_KEYS,), "attn_v.bias": (_KEYS,)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in one.items()}
    shapes["output_norm.weight"] = (WIDTH,)
    return shapes if tied else shapes | {"output.weight": (len(TOKENS), WIDTH)}


def _add_tensor(writer: GGUFWriter, name: str, values: np.ndarray, kind: Any) -> None:
    if values.ndim == 1 or kind == GGMLQuantizationType.F32:
        writer.add_tensor(name, values)
    elif kind == GGMLQuantizationType.F16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
