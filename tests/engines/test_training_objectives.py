"""DPO's variants: each loss equals its formula, computed from plain log-probabilities."""

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import logsigmoid

from srlm_kedro.engines.training.params import DpoParams
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Preference
from tests.engines.models import write_model
from tests.engines.tuning import DPO, EXAMPLES, PAIRS, SFT, completion_logps

BETA = DPO.beta[0]


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("reference"), initializer_range=0.3)


@pytest.fixture(scope="module")
def logps(checkpoint, other):
    """The token log-probabilities of policy and reference, chosen and rejected, for each pair."""
    return [
        tuple(
            completion_logps(model, pair.prompt, text)
            for model in (checkpoint, other)
            for text in (pair.chosen, pair.rejected)
        )
        for pair in PAIRS
    ]


@pytest.fixture
def first_loss(trainer, checkpoint, other):
    """The loss of the first step, with the settings changed as asked."""

    def run(**changes):
        params = DPO.model_copy(update={"epochs": 1, **changes})
        return trainer.dpo(checkpoint, other, PAIRS, params, seed=1).log[0]["loss"]

    return run


def margin(chosen, rejected, ref_chosen, ref_rejected):
    return (chosen.sum() - ref_chosen.sum()) - (rejected.sum() - ref_rejected.sum())


def mean(losses):
    return torch.stack(list(losses)).mean().item()


def test_plain(first_loss, logps):
    """Without any variant it is the paper's loss."""
    expected = mean(-logsigmoid(BETA * margin(*row)) for row in logps)
    assert first_loss() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("smoothing", [0.1, 0.25, 0.7])
def test_label_smoothing(first_loss, logps, smoothing):
    """The pair's order has weight 1 - e, and the opposite order has weight e."""
    expected = mean(
        -(1 - smoothing) * logsigmoid(BETA * margin(*row))
        - smoothing * logsigmoid(-BETA * margin(*row))
        for row in logps
    )
    assert first_loss(label_smoothing=smoothing) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
def test_nll_weight(first_loss, logps, micro_batch_size):
    """It adds the chosen responses' loss per token. Each response has the same weight."""
    expected = mean(-logsigmoid(BETA * margin(*row)) - 0.5 * row[0].mean() for row in logps)
    found = first_loss(nll_weight=0.5, micro_batch_size=micro_batch_size)
    assert found == pytest.approx(expected, abs=1e-4)


def test_length_normalised(first_loss, logps):
    """The log-ratios per token decide, with the end token counted."""
    expected = mean(
        -logsigmoid(BETA * ((a.mean() - ref_a.mean()) - (b.mean() - ref_b.mean())))
        for a, b, ref_a, ref_b in logps
    )
    assert first_loss(length_normalised=True) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_ld_alpha(first_loss, logps, alpha):
    """Tokens beyond the shorter response's length have weight alpha, also for the reference."""

    def cut(row):
        shared = min(len(row[0]), len(row[1]))
        return [torch.cat([one[:shared], alpha * one[shared:]]) for one in row]

    expected = mean(-logsigmoid(BETA * margin(*cut(row))) for row in logps)
    assert first_loss(ld_alpha=alpha) == pytest.approx(expected, abs=1e-4)


def test_they_add_up(first_loss, logps):
    """Smoothing and the chosen responses' likelihood can be combined."""
    expected = mean(
        -0.8 * logsigmoid(BETA * margin(*row))
        - 0.2 * logsigmoid(-BETA * margin(*row))
        - row[0].mean()
        for row in logps
    )
    assert first_loss(label_smoothing=0.2, nll_weight=1.0) == pytest.approx(expected, abs=1e-4)


def test_micro_batches_change_rounding_alone(trainer, checkpoint, other):
    """The gradient of the likelihood is the same for any micro-batch."""
    losses = [
        trainer.dpo(
            checkpoint,
            other,
            PAIRS,
            DPO.model_copy(update={"nll_weight": 1.0, "micro_batch_size": size}),
            seed=1,
        ).log[-1]["loss"]
        for size in (4, 1)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)


@pytest.mark.parametrize(("count", "batch", "micro"), [(6, 8, (8, 4, 1)), (7, 4, (4, 2, 1))])
@pytest.mark.parametrize("nll_weight", [0.0, 1.0])
def test_a_partial_batch_is_a_mean_over_its_pairs(
    trainer, checkpoint, other, count, batch, micro, nll_weight
):
    """Each pair has the same weight, also in a micro-batch that is not full."""
    texts = ["w1 w2", "w3 w4 w5 w6 w7 w8 w9", "w10", "w11 w12 w13", "w14 w15 w16 w17", "w18", "w2"]
    pairs = [Preference(f"w{i} w20", text, "w21 w22") for i, text in enumerate(texts[:count])]
    changes = {"epochs": 1, "batch_size": batch, "nll_weight": nll_weight, "max_grad_norm": 1e9}
    logs = [
        trainer.dpo(
            checkpoint,
            other,
            pairs,
            DPO.model_copy(update={**changes, "micro_batch_size": size}),
            seed=1,
        ).log
        for size in micro
    ]
    for name in ("loss", "grad_norm"):
        wanted, *others = ([row[name] for row in log] for log in logs)
        for found in others:
            assert found == pytest.approx(wanted, rel=1e-4), name


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
@pytest.mark.parametrize("alpha", [None, 0.0, 0.5])
def test_log_ratio(trainer, checkpoint, other, logps, micro_batch_size, alpha):
    """It is the mean over the responses of |log-ratio| per token, weighted as in the loss."""

    def ratios(chosen, rejected, *references):
        shared = min(len(chosen), len(rejected))
        for policy, reference in zip((chosen, rejected), references, strict=True):
            weights = torch.ones(len(policy))
            if alpha is not None:
                weights[shared:] = alpha
            yield ((policy - reference) * weights).sum().abs() / weights.sum()

    expected = mean(ratio for row in logps for ratio in ratios(*row))
    changes = {"epochs": 1, "micro_batch_size": micro_batch_size, "ld_alpha": alpha}
    params = DPO.model_copy(update={**changes, "max_log_ratio": expected + 1e-3})
    found = trainer.dpo(checkpoint, other, PAIRS, params, seed=1).log[0]["log_ratio"]
    assert found == pytest.approx(expected, abs=1e-4)
    strict = params.model_copy(update={"max_log_ratio": expected - 1e-3})
    with pytest.raises(GateError, match=rf"at step 1 of 1 .* is {expected:.2f} nats"):
        trainer.dpo(checkpoint, other, PAIRS, strict, seed=1)


@pytest.mark.parametrize("other_knob", [{"ld_alpha": 0.5}, {"label_smoothing": 0.1}])
def test_contradictions_are_refused(trainer, checkpoint, other_knob):
    """Reading the settings refuses them, and so does the engine for settings made in code."""
    (name,) = other_knob
    with pytest.raises(ValidationError, match=f"length_normalised and {name}"):
        DpoParams(length_normalised=True, **other_knob)
    set_in_code = DPO.model_copy(update={"length_normalised": True, **other_knob})
    with pytest.raises(InputError, match=f"length_normalised and {name}"):
        trainer.dpo(checkpoint, checkpoint, PAIRS, set_in_code, seed=1)


@pytest.mark.parametrize("weighting", ["token", "example"])
def test_what_counts_equally_in_a_step_of_sft(trainer, checkpoint, weighting):
    """Each token of a completion, or each example: also when a step has several micro-batches."""
    params = SFT.model_copy(
        update={"epochs": 1, "weighting": weighting, "batch_size": 4, "micro_batch_size": 2}
    )
    first = trainer.sft(checkpoint, EXAMPLES, params, seed=1).log[0]["loss"]
    rows = [-completion_logps(checkpoint, one.prompt, one.completion) for one in EXAMPLES]
    tokens, examples = torch.cat(rows).mean().item(), mean(row.mean() for row in rows)
    assert tokens != pytest.approx(examples, abs=1e-2)
    assert first == pytest.approx(tokens if weighting == "token" else examples, abs=1e-4)


def test_examples_of_a_smaller_last_step_count_equally(trainer, checkpoint):
    """Three examples in a step of four: the loss is their mean."""
    params = SFT.model_copy(update={"epochs": 1, "weighting": "example", "micro_batch_size": 2})
    first = trainer.sft(checkpoint, EXAMPLES[:3], params, seed=1).log[0]["loss"]
    rows = [-completion_logps(checkpoint, one.prompt, one.completion) for one in EXAMPLES[:3]]
    assert first == pytest.approx(mean(row.mean() for row in rows), abs=1e-4)
