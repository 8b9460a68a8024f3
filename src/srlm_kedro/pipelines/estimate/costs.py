"""Tokens into hours, memory and disk."""

import math
from typing import Any

import pandas as pd

from srlm_kedro.pipelines.estimate.devices import DEVICES, Device
from srlm_kedro.pipelines.estimate.params import EstimateParams

COLUMNS = [
    *("stage", "model", "requests", "completions", "prompt_tokens", "prefill_tokens"),
    *("new_tokens", "examples", "train_tokens", "hours"),
]
"""Of `estimate`, a row a drawing or training."""

_GIB = 2**30
_BYTES = {"float32": 4, "bfloat16": 2}
_CPU_CACHE = 2 * _GIB
"""Keys, values and the like that drawing holds on a CPU: its batches follow this."""
_AROUND = 25
"""Seconds of a whole run that no model takes: imports, checks, report. Measured."""
_ADAM = 8
"""Bytes a trained weight: two moments in float32; its gradient takes four more."""
_ACTIVATIONS = 34 * 2
"""Bytes a token, layer and unit of width that a backward pass needs, in float32."""
_ADAPTED = 21
"""Widths of input and output of a layer's seven matrices, in units of the model's width."""
_NF4 = 0.55
"""Bytes of a weight in 4 bits, its scales included."""
_TEXT = 1.6
"""Bytes that a token takes in the tables. Measured."""
_DATABASE = 2e6
"""Bytes of the tracking database after a run. Measured."""


def reckon(
    estimate_draws: pd.DataFrame,
    estimate_training: pd.DataFrame,
    estimate_size: dict[str, Any],
    estimate: EstimateParams,
) -> pd.DataFrame:
    """A row a drawing or training with its hours, then one for what stands around them."""
    device = DEVICES[estimate.device]
    size = estimate_size
    drawn = estimate_draws.assign(
        hours=[draw_seconds(row, size, device, estimate) for row in estimate_draws.itertuples()]
    )
    trained = estimate_training.assign(
        hours=[train_seconds(row, size, device) for row in estimate_training.itertuples()]
    )
    table = pd.concat([drawn, trained], ignore_index=True).reindex(columns=COLUMNS)
    table["hours"] /= 3600 * estimate.devices
    around = pd.DataFrame([{"stage": "around", "model": "all", "hours": _AROUND / 3600}])
    table = pd.concat([table, around], ignore_index=True)
    counts = [name for name in COLUMNS if name not in ("stage", "model", "hours")]
    return table.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, int))


def draw_seconds(
    row: "pd.core.frame.Pandas", size: dict[str, Any], device: Device, estimate: EstimateParams
) -> float:
    """Seconds of one drawing on one device.

    A step reads all weights once and every row's keys and values; it computes two operations a
    parameter and token. The slower of the two counts.
    """
    width = estimate.width
    context = (
        row.prompt_tokens / max(row.requests, 1) + row.new_tokens / max(row.completions, 1) / 2
    )
    read = row.steps * size["parameters"] * width + row.new_tokens * context * _kv(size, width)
    computed = 2 * size["parameters"] * row.new_tokens / device.decode
    prefill = 2 * size["parameters"] * row.prefill_tokens / device.prefill
    return prefill + row.steps * device.draw_step + max(read / device.bandwidth, computed)


def train_seconds(row: "pd.core.frame.Pandas", size: dict[str, Any], device: Device) -> float:
    """Seconds of one training on one device: two operations a parameter, token and pass."""
    computed = 2 * size["parameters"] * row.passes / device.training
    return computed + row.micro_batches * device.training_step


def memory(
    draws: pd.DataFrame, training: pd.DataFrame, size: dict[str, Any], estimate: EstimateParams
) -> dict[str, float]:
    """GiB a device at the peak: `drawing`; `states` (weights, gradients, moments), `activations`.

    All but the activations spread over the devices.
    """
    parameters, width = size["parameters"], estimate.width
    cached = estimate.rows * float(draws["longest"].max()) * _kv(size, width)
    if DEVICES[estimate.device].memory is None:
        cached = min(cached, _CPU_CACHE)
    layers = 1 if estimate.activation_checkpointing else size["layers"]
    kept = size["hidden_size"] * (_ACTIVATIONS * layers + 4 * size["layers"])
    logits = 3 * 4 * size["vocabulary"]
    states = max(_states(row, size, width) for row in training.itertuples())
    return {
        "drawing": (parameters * width + cached) / estimate.devices / _GIB,
        "states": states / estimate.devices / _GIB,
        "activations": float(training["held_tokens"].max()) * (kept + logits) / _GIB,
    }


def _states(row: "pd.core.frame.Pandas", size: dict[str, Any], width: int) -> float:
    """Bytes of weights, gradients and moments; what is trained is held in float32."""
    if not row.rank:
        return size["parameters"] * (4 + 4 + _ADAM)
    frozen = _NF4 if row.quantised else width
    return size["parameters"] * frozen + _adapter(row, size) * (4 + 4 + _ADAM)


def _adapter(row: "pd.core.frame.Pandas", size: dict[str, Any]) -> float:
    """Parameters of an adapter on every matrix of the layers."""
    return row.rank * _ADAPTED * size["layers"] * size["hidden_size"]


def machine_verdict(peak: dict[str, float], held: float) -> str:
    """Whether `memory` fits a machine of `held` GiB that computes itself, and what to do if not."""
    needed = max(peak["drawing"], peak["states"] + peak["activations"])
    if needed <= held:
        return "it fits"
    return (
        f"it does not fit: {needed:.1f} GiB are needed; lower `micro_batch_size` of `sft` and "
        "`dpo`, train an adapter (`lora`), or take a smaller model or a larger machine"
    )


def verdict(peak: dict[str, float], devices: int, each: float) -> str:
    """Whether `memory` fits `devices` of `each` GiB, and what to do if not."""
    room = each - peak["activations"]
    if room <= 0:
        return (
            "it does not fit: activations alone take more than a device; lower "
            "`micro_batch_size` of `sft` and `dpo`, or checkpoint activations"
        )
    short = max(peak["states"] / room, peak["drawing"] / each)
    if short > 1:
        return f"it does not fit: {math.ceil(short * devices)} devices are needed, or an adapter"
    return "it fits"


def disk(
    table: pd.DataFrame, training: pd.DataFrame, size: dict[str, Any], estimate: EstimateParams
) -> dict[str, float]:
    """Bytes: `models` (every model trained here once; MLflow links them), `tables`, `tracking`."""
    whole = size["parameters"] * _BYTES[estimate.checkpoint_dtype]
    models = [4 * _adapter(r, size) if r.adapter_kept else whole for r in training.itertuples()]
    pretrained = table.loc[table["stage"] == "pretraining", "train_tokens"].sum()
    return {
        "models": sum(models),
        "tables": _TEXT * float(table["new_tokens"].sum() + pretrained),
        "tracking": _DATABASE,
    }


def _kv(size: dict[str, Any], width: int) -> float:
    """Bytes of the keys and values of one token."""
    return 2 * size["layers"] * size["kv_size"] * width
