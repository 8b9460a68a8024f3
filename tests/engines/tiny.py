"""Tiny models with random weights of any causal architecture that transformers knows."""

import inspect
import re
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from srlm_kedro.records import Checkpoint
from tests.engines.models import word_tokenizer

_WORDS = 40
_SIZES: list[tuple[str, int]] = [
    (r"(.*_)?vocab_size(_.*)?", _WORDS + 6),
    (r"(max|n)_(position|seq|context|ctx).*|n_ctx|n_positions|max_.*position.*", 256),
    (r"(bos|decoder_start)_token_id", 1),
    (r"eos_token_id", 2),
    (r"(pad|sep)_token_id", 0),
    (r".*window(_size)?|attention_chunk_size|window_size", 8),
    (r".*(experts_per_tok|experts_per_token|moe_topk|moe_top_k|expert_topk|experts_top_k)", 2),
    (r"(n|num)_shared_experts?", 1),
    (r"(n|num)_.*experts|num_experts|moe_num_experts", 4),
    (r"n_group|topk_group|num_expert_group", 1),
    (r"(.*_)?(kv_heads|key_value_heads|num_kv_heads|n_heads_kv|key_heads|num_k_heads)", 2),
    (r"(.*_)?(num_.*heads|n_heads?|heads)|.*attention_heads", 4),
    (r".*head_dim(_.*)?|kv_channels|d_kv|.*_d_head|dim_head|qk_.*_dim|v_head_dim", 8),
    (r".*lora_rank|.*_rank|.*low_rank.*", 8),
    (
        r"(.*_)?(intermediate_size|ffn_dim|ffn_hidden_size|dim_ff|n_inner|d_inner|mlp_size)(_.*)?",
        64,
    ),
    (r"hidden_size_per_layer_input|.*embedding_size|embedding_dim", 32),
    (r"(.*_)?(hidden_size|d_model|n_embd|dim_model|model_dim|hidden_dim|emb_dim|dim|width)", 32),
    (r"(num|n|encoder|decoder|num_encoder|num_decoder|num_hidden)_layers?|num_hidden_layers", 2),
    (r"(.*_)?(ssm_state_size|state_size|d_state)", 8),
    (r"(.*_)?chunk_size", 8),
]
"""What each size of a configuration shrinks to, by its name; the first that matches counts."""

_MOST_WEIGHTS = 5_000_000
"""More take too long to write."""

_UNSET = r".*_token_id|head_dim|num_key_value_heads|.*experts.*"
"""Fields that some architectures leave empty, and that shrink all the same."""

_ALL_HEADS = {"num_key_value_heads": 4}
_MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 16}
_INDEXER = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 4,
    "ngram_vocab_size_base": 50,
    "split_ngram_parts": 4,
}
_OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        [
            *("axk1", "axk2", "bailing_hybrid", "deepseek_v2", "deepseek_v3", "deepseek_v32"),
            *("dots3_note", "dots3_note_text", "glm4_moe_lite", "glm_moe_dsa", "kimi_linear"),
            *("minicpm3", "youtu"),
        ],
        _ALL_HEADS,
    ),
    "bamba": {**_MAMBA2, "attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 4},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}},
        "layer_types": ["full_attention"] * 2,
    },
    "ernie4_5_moe": {"moe_k": 2},
    "falcon_h1": {**_MAMBA2, "mamba_d_ssm": 64},
    "flint": {"mlp_only_layers": [0]},
    "gemma3n": {
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "intermediate_size": 64,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {
        **_MAMBA2,
        "layer_types": ["linear_attention", "full_attention"],
    },
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 4},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "longcat_flash": {**_ALL_HEADS, "qk_head_dim": 16, "head_dim": 8, "zero_expert_num": 2},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "nemotron_h": {"mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 1},
    "qwen4_exp": _INDEXER,
    "qwen4_exp_text": _INDEXER,
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 8},
    "reformer": {
        "axial_pos_shape": [16, 16],
        "axial_pos_embds_dim": [16, 16],
        "attn_layers": ["local", "lsh"],
        "attention_head_size": 8,
        "lsh_attn_chunk_length": 16,
        "local_attn_chunk_length": 16,
    },
    "xlstm": {"num_blocks": 2, "num_heads": 2, "hidden_size": 256, "embedding_dim": 256},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
        "mamba_dt_rank": 4,
    },
    "zamba2": {
        "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "hybrid_layer_ids": [1],
    },
    "zaya": {"num_experts_per_tok": 1},
}
_OWN["gemma3n_text"] = _OWN["gemma3n"]


def tiny_config(kind: str, **own: Any) -> Any:
    """A configuration with few and narrow layers; its parts are small too."""
    default = CONFIG_MAPPING[kind]()
    own = _OWN.get(kind, {}) | own
    text = default.get_text_config(decoder=True)
    if text is default:
        return type(default)(**_shrunk(default) | own)
    parts = {
        name: type(part)(**_shrunk(part) | (own if part is text else {})).to_dict()
        for name in default.sub_configs
        if (part := getattr(default, name, None)) is not None
    }
    return type(default)(**_shrunk(default) | parts)


def _shrunk(config: Any) -> dict[str, Any]:
    """The sizes of a configuration, all small."""
    kind, default = type(config), config.to_dict()
    named = {
        name
        for base in kind.__mro__
        for name in [*getattr(base, "__annotations__", {}), *_arguments(base)]
    }
    shape: dict[str, Any] = {}
    for name in sorted(named & default.keys()):
        value = default[name]
        size = next((size for pattern, size in _SIZES if re.fullmatch(pattern, name)), None)
        counts = isinstance(value, int) and not isinstance(value, bool)
        if size is not None and (counts or (value is None and re.fullmatch(_UNSET, name))):
            shape[name] = size
    if "is_decoder" in default:
        shape["is_decoder"] = True
    if "initializer_range" in default:
        shape["initializer_range"] = 0.2
    kinds = list(dict.fromkeys(default.get("layer_types") or []))
    if kinds and "num_hidden_layers" in shape:
        layers = max(2, len(kinds))
        shape["num_hidden_layers"] = layers
        shape["layer_types"] = (kinds * layers)[:layers]
    return shape


def _arguments(kind: type) -> list[str]:
    try:
        return list(inspect.signature(kind.__init__).parameters)
    except (TypeError, ValueError):
        return []


def write_tiny(folder: Path, kind: str, **own: Any) -> Checkpoint:
    """A checkpoint of the architecture; `own` names fields of its configuration.

    Raises:
        ValueError: It stays large, whatever of its sizes shrinks.
    """
    tokenizer = word_tokenizer(_WORDS)
    tokenizer.save_pretrained(folder)
    config = tiny_config(kind, **own)
    with torch.device("meta"):
        weights = AutoModelForCausalLM.from_config(config).num_parameters()
    if weights > _MOST_WEIGHTS:
        raise ValueError(f"it keeps {weights:,} weights however its sizes shrink")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return Checkpoint(folder, "m1")
