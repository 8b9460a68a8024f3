"""Tokens into hours, memory and disk."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from srlm_kedro.pipelines.estimate.devices import DEVICES, Device, device_for
from srlm_kedro.pipelines.estimate.params import EstimateParams

COLUMNS = [
    *("stage", "model", "requests", "completions", "prompt_tokens", "prefill_tokens"),
    *("new_tokens", "examples", "train_tokens", "hours"),
]
"""Columns of `estimate`: one row per sampling or training."""

_GIB = 2**30
_BYTES = {"float32": 4, "bfloat16": 2}
_CPU_CACHE = 2 * _GIB
"""Bytes of keys and values in sampling on a CPU, which limits the batches there."""
PROCESS = 1.3
"""GiB that the process itself needs on the host. Measured."""
_AROUND = 25
"""Seconds of a whole run without any model: imports, checks, report. Measured."""
_TRAINED = 4 + 4 + 8
"""Bytes per trained weight, all in float32: the weight, its gradient, Adam's two moments."""
_ACTIVATIONS = 34 * 2
"""Bytes per token, layer and unit of width that a backward pass needs, in float32."""
_ADAPTED = 21
"""Widths of input and output of a layer's seven matrices, in units of the model's width."""
_NF4 = 0.55
"""Bytes per weight in 4 bits, its scales included."""
_TEXT = 1.6
"""Bytes per token in the tables. Measured."""
_DATABASE = 2e6
"""Bytes of the tracking database after a run. Measured."""


def reckon(
    estimate_draws: pd.DataFrame,
    estimate_training: pd.DataFrame,
    estimate_size: dict[str, Any],
    estimate: EstimateParams,
    machine: Mapping[str, float | str],
) -> pd.DataFrame:
    """One row per sampling or training with its hours, and a row `around` for the rest of a run."""
    size, estimate = estimate_size, estimate.on(machine)
    device = device_for(estimate.device, size["parameters"])
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
    """Seconds of one sampling on one device.

    A step reads all weights once, and the keys and values of every row. It computes two operations
    per parameter and token. The slower of the two counts.
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
    """Seconds of one training on one device: two operations per parameter, token and pass."""
    computed = 2 * size["parameters"] * row.passes / device.training
    return computed + row.micro_batches * device.training_step


def memory(
    draws: pd.DataFrame, training: pd.DataFrame, size: dict[str, Any], estimate: EstimateParams
) -> dict[str, float]:
    """GiB per device at the peak: `drawing`; `states` (weights, gradients, moments), `activations`.

    The devices share all of it but the activations.
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
    """Bytes of weights, gradients and moments in one training."""
    if not row.rank:
        return size["parameters"] * _TRAINED
    frozen = _NF4 if row.quantised else width
    return size["parameters"] * frozen + _adapter(row, size) * _TRAINED


def _adapter(row: "pd.core.frame.Pandas", size: dict[str, Any]) -> float:
    """Parameters of an adapter on every matrix of the layers."""
    return row.rank * _ADAPTED * size["layers"] * size["hidden_size"]


def _kv(size: dict[str, Any], width: int) -> float:
    """Bytes of the keys and values of one token."""
    return 2 * size["layers"] * size["kv_size"] * width


def machine_verdict(peak: dict[str, float], available: float) -> str:
    """Whether `memory` fits this machine of `available` GiB, and what to do if it does not.

    The machine's memory counts once: sampling and training are never at work together, and the
    cores of a CPU share all of it.
    """
    room = available - PROCESS
    drawing, training = peak["drawing"], peak["states"] + peak["activations"]
    advice = []
    if training > room:
        advice.append(
            f"training needs {training + PROCESS:.1f} GiB: lower `micro_batch_size` of `sft` and "
            "`dpo`, train an adapter (`lora`), or compute activations twice "
            "(`activation_checkpointing` of the training engine)"
        )
    if drawing > room:
        advice.append(
            f"sampling needs {drawing + PROCESS:.1f} GiB: give the engines `dtype: bfloat16`, or "
            "lower the generation engine's `memory_gib`"
        )
    if not advice:
        return "it fits"
    return f"it does not fit: {'; '.join(advice)}; or take a smaller model or a larger machine"


def verdict(peak: dict[str, float], devices: int, each: float) -> str:
    """Whether `memory` fits `devices` of `each` GiB, and what to do if it does not."""
    room = each - peak["activations"]
    if room <= 0:
        return (
            "it does not fit: the activations need more than one device has; lower "
            "`micro_batch_size` of `sft` and `dpo`, or checkpoint activations"
        )
    short = max(peak["states"] / room, peak["drawing"] / each)
    if short > 1:
        return f"it does not fit: {math.ceil(short * devices)} devices are needed, or an adapter"
    return "it fits"


def disk(
    table: pd.DataFrame, training: pd.DataFrame, size: dict[str, Any], estimate: EstimateParams
) -> dict[str, float]:
    """Bytes of `models` (each trained model once; MLflow links to them), `tables`, `tracking`."""
    whole = size["parameters"] * _BYTES[estimate.checkpoint_dtype]
    models = [4 * _adapter(r, size) if r.adapter_kept else whole for r in training.itertuples()]
    pretrained = table.loc[table["stage"] == "pretraining", "train_tokens"].sum()
    return {
        "models": sum(models),
        "tables": _TEXT * float(table["new_tokens"].sum() + pretrained),
        "tracking": _DATABASE,
    }
