"""Log-probabilities of given completions, by the training engine."""

import pytest

from srlm_kedro.engines.training.trl import likelihood
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.errors import InputError
from srlm_kedro.records import Example
from tests.engines.models import write_model
from tests.engines.tuning import EXAMPLES, SFT, completion_logps


def by_hand(checkpoint, examples):
    return [completion_logps(checkpoint, e.prompt, e.completion).sum().item() for e in examples]


@pytest.mark.parametrize("batch", [1, 20, 8192])
def test_they_are_sums_over_tokens_with_the_end_in_the_order_asked(checkpoint, batch, monkeypatch):
    """They equal those of one text at a time, for any size of batch."""
    monkeypatch.setattr(likelihood, "_BATCH", batch)
    found = TrlEngine(device="cpu", threads=1).log_probs(checkpoint, EXAMPLES)
    assert found == pytest.approx(by_hand(checkpoint, EXAMPLES), abs=1e-4)


def test_of_a_cut_text_the_end_is_not_counted(checkpoint):
    """Only the text's own tokens count."""
    example = Example("w1 w2", "w3 w4 w5", complete=False)
    by_token = completion_logps(checkpoint, example.prompt, example.completion)
    (found,) = TrlEngine(device="cpu", threads=1).log_probs(checkpoint, [example])
    assert found == pytest.approx(by_token[:-1].sum().item(), abs=1e-4)


def test_training_on_completions_makes_them_more_probable(trainer, checkpoint):
    """The saved model is read."""
    trained = trainer.sft(checkpoint, EXAMPLES, SFT, seed=1).checkpoint
    before, after = (trainer.log_probs(model, EXAMPLES) for model in (checkpoint, trained))
    assert sum(after) > sum(before) + 1


def test_dropout_plays_no_part(tmp_path):
    """Two calls agree, whatever dropout the model's configuration has."""
    model = write_model(tmp_path, attention_dropout=0.5)
    engine = TrlEngine(device="cpu", threads=1)
    assert engine.log_probs(model, EXAMPLES) == engine.log_probs(model, EXAMPLES)


def test_nothing_is_said_of_nothing(checkpoint):
    """Without completions no model is read."""
    assert TrlEngine(device="cpu").log_probs(checkpoint, []) == []


def test_a_text_that_the_model_cannot_see_whole_is_refused(tmp_path):
    """Texts are never cut silently."""
    short = write_model(tmp_path, max_position_embeddings=8)
    with pytest.raises(InputError, match="max_position_embeddings = 8"):
        TrlEngine(device="cpu").log_probs(short, [Example("w1", " ".join(["w2"] * 9))])
