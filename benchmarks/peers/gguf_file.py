"""A Llama checkpoint as the GGUF file that llama.cpp reads: the same weights, no tokenizer."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers import LlamaForCausalLM

from benchmarks import models
from srlm_kedro.records import Checkpoint

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write(checkpoint: Checkpoint, file: Path, dtype: str) -> None:
    """Writes the weights; matrices in `float32` or `bfloat16`, norms in float32 as llama.cpp does.

    Raises:
        TypeError: The checkpoint is no Llama.
    """
    model = models.read(checkpoint, "float32", "cpu")
    if not isinstance(model, LlamaForCausalLM):
        raise TypeError(f"{checkpoint.path} holds a {type(model).__name__}, not a Llama")
    writer = gguf.GGUFWriter(file, "llama")
    _describe(writer, model.config)
    kind = {"float32": "F32", "bfloat16": "BF16"}[dtype]
    for name, tensor in model.state_dict().items():
        if (target := _target(name)) is None:
            continue
        values = _rotated(name, tensor.numpy(), model.config)
        one = gguf.GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        writer.add_tensor(target, gguf.quants.quantize(values, one), raw_dtype=one)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")


def _target(name: str) -> str | None:
    """llama.cpp's name of a weight; None for an output layer that is tied to the embeddings."""
    if name == "lm_head.weight":
        return None
    whole = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm"}
    if name in whole:
        return f"{whole[name]}.weight"
    _, _, layer, inner = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_NAMES[inner]}.weight"


def _rotated(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    """Queries and keys in llama.cpp's order: it rotates neighbours, Hugging Face rotates halves."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = next((count for part, count in heads.items() if part in name), None)
    if count is None:
        return values
    halves = values.reshape(count, 2, -1, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
