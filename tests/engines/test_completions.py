"""Stop strings, and the text of sampled tokens."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from srlm_kedro.engines.generation.base import text_before
from srlm_kedro.engines.generation.completions import StopStrings, decode
from tests.engines.models import word_tokenizer


@pytest.fixture(scope="module")
def byte_tokenizer():
    """One token per byte, as real tokenizers split rare characters."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")


def first_stop(tokenizer, text: str, stop: list[str]) -> str | None:
    """The text at the first token after which the row is stopped."""
    ids = tokenizer(text)["input_ids"]
    stops = StopStrings(tokenizer, stop)
    for length in range(1, len(ids) + 1):
        if stops.reached(ids[:length]):
            return decode(tokenizer, ids[:length])
    return None


@pytest.mark.parametrize("stop", ["\n", "two\nTask", "wo", "t ", "é", "日本"])
def test_a_row_stops_at_the_token_that_completes_the_string(byte_tokenizer, stop):
    """Strings may span tokens, end in a space, or end in a character of several tokens."""
    text = "one t two\nTask é 日本 three"
    seen = first_stop(byte_tokenizer, text, [stop])
    assert seen == text[: text.index(stop) + len(stop)]


def test_a_row_without_the_string_goes_on(byte_tokenizer):
    """A row that never holds a stop string is not stopped."""
    assert first_stop(byte_tokenizer, "one two", ["three", "twoo"]) is None
    assert first_stop(byte_tokenizer, "one two", []) is None


def test_words_joined_by_the_decoder_stop_too():
    """The decoder adds the space between words, and a stop string may hold it."""
    assert first_stop(word_tokenizer(9), "w1 w2 w3 w4", ["w2 w3"]) == "w1 w2 w3"


def test_the_text_is_cut_at_the_first_string():
    """Of several stop strings, the first one in the text counts."""
    assert text_before(["three", "two"], "one two three") == "one "
    assert text_before(["two"], "one") == "one"
