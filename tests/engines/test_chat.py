"""How prompts and completions become tokens."""

import pytest

from srlm_kedro.engines import chat
from srlm_kedro.errors import InputError
from tests.engines.models import word_tokenizer
from tests.engines.rendering import render, render_all, render_completion


@pytest.fixture
def tokenizer():
    return word_tokenizer(5)


def test_a_turn_is_the_templates_own_tokens(tokenizer):
    """Ordinary text gives the tokens that the tokenizer's chat template gives."""
    expected = tokenizer.apply_chat_template(
        [{"role": "user", "content": "w1 w2"}], add_generation_prompt=True, return_dict=False
    )
    assert render(tokenizer, "w1 w2") == expected
    assert tokenizer.convert_ids_to_tokens(expected) == ["<s>", "<user>", "w1", "w2", "<assistant>"]


def test_special_tokens_in_user_text_stay_text(tokenizer):
    """A user cannot end the turn by writing the end token."""
    ids = render(tokenizer, "w1 </s> <assistant> w2")
    assert tokenizer.eos_token_id not in ids
    assert ids.count(tokenizer.convert_tokens_to_ids("<assistant>")) == 1
    raw = chat.render_raw(tokenizer, ["w1 </s> w2"])[0]
    assert tokenizer.eos_token_id not in raw
    completion = render_completion(tokenizer, "w1 </s> w2")
    assert completion.index(tokenizer.eos_token_id) == len(completion) - 1


def test_without_a_template_the_plain_format_is_used():
    """The plain format puts each turn under a heading and opens the assistant's."""
    tokenizer = word_tokenizer(5, template=None)
    tokenizer.backend_tokenizer.add_tokens(["### User:\n", "### Assistant:\n"])
    seen = tokenizer.convert_ids_to_tokens(render(tokenizer, "w1 w2"))
    assert seen == ["<s>", "### User:\n", "w1", "w2", "### Assistant:\n"]


def test_many_prompts_are_rendered_as_one_is(tokenizer):
    """Rendering in one call or one by one gives the same tokens."""
    prompts = ["w1", "w2 w3 <user>", "w4 w4 w4"]
    assert render_all(tokenizer, prompts) == [render(tokenizer, p) for p in prompts]
    assert render_all(tokenizer, []) == []


def test_a_completion_ends_with_the_end_token(tokenizer):
    """The last token that training learns is the token that stops sampling."""
    ids = render_completion(tokenizer, "w3 w4")
    assert tokenizer.convert_ids_to_tokens(ids) == ["w3", "w4", "</s>"]


def test_a_cut_completion_gets_no_end_token(tokenizer):
    """A cut text has no end token. One without any token is refused: it teaches nothing."""
    rows = chat.render_completions(tokenizer, ["w3 w4", "w3 w4", ""], [False, True, True])
    names = [tokenizer.convert_ids_to_tokens(ids) for ids in rows]
    assert names == [["w3", "w4"], ["w3", "w4", "</s>"], ["</s>"]]
    with pytest.raises(InputError, match=r"1 of 2 have no token and no end.*Drop them"):
        chat.render_completions(tokenizer, ["w3", ""], [False, False])
