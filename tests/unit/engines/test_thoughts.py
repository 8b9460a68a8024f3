"""Where a thought ends and an answer begins, for the marks of every family."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.engines.thoughts import MARKS, PAIRS, closing, has_marks, opened, split

HARMONY = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"


@pytest.mark.parametrize(("opening", "close"), PAIRS)
def test_a_thought_in_marks_is_no_answer(opening, close):
    """The thought includes its marks, and the answer begins with its first word."""
    thought = f"{opening}\nTwo facts. Score: 2.\n{close}\n\n"
    assert split(f"{thought}Score: 5") == (thought, "Score: 5")


@pytest.mark.parametrize(("opening", "close"), PAIRS)
def test_a_mark_that_nothing_opened_ends_a_thought(opening, close):
    """The template had opened that thought."""
    assert split(f"Two facts.{close} Four.") == (f"Two facts.{close} ", "Four.")


@pytest.mark.parametrize("opening", [opening for opening, _ in PAIRS])
@pytest.mark.parametrize("cut", [True, False])
def test_a_thought_that_never_ends_has_no_answer(opening, cut):
    """No word of such a thought is the answer."""
    text = f"{opening}\nScore: 2. Wait, all three are right"
    assert split(text, cut) == (text, "")


@pytest.mark.parametrize(
    "text",
    [
        *("", "Four.", " \n Four. ", "analysis of the matter", "Analysis: good", "final answer: 4"),
        "R1 writes <think> and </think> around its thoughts.",
        "A <reasoning> tag opens.",
        "final<|message|>",
    ],
)
def test_a_text_without_a_thought_stays_as_it_is(text):
    """Words about marks are words of an answer."""
    assert split(text) == ("", text)


@given(st.text(alphabet=st.characters(exclude_characters="<[◁")))
def test_no_text_without_marks_loses_a_letter(text):
    """The answers of a model that does not think stay as they are."""
    if not text.lstrip().startswith(("analysis", "commentary")):
        assert split(text) == ("", text)


@given(
    st.lists(st.sampled_from([*sorted(MARKS), "final", "Hm.", " ", "\n", "<answer>", "</answer>"]))
)
def test_nothing_of_a_thought_is_lost(parts):
    """The raw text begins with thought and answer, so that they can be split again."""
    text = "".join(parts)
    for cut in (True, False):
        assert text.startswith("".join(split(text, cut)))


def test_several_thoughts_in_a_row():
    """The answer follows the last thought."""
    thought = "<think>One.</think>\n<think>Two.</think>\n"
    assert split(f"{thought}Three.") == (thought, "Three.")


def test_marks_that_a_thought_quotes_count_in_pairs():
    """A thought that quotes marks ends at its own closing mark."""
    quoting = "<think>Put <think> and </think> around it. Score: 1</think>"
    assert split(f"{quoting}Done.") == (quoting, "Done.")
    assert split(quoting.removesuffix("</think>"), cut=True)[1] == ""


def test_marks_that_do_not_add_up():
    """The last mark ends the thought of a whole text; a cut text has no answer then."""
    text = "<think>What is <think>?</think>A mark."
    assert split(text)[1] == "A mark."
    assert split(text, cut=True)[1] == ""


def test_an_answer_may_quote_marks():
    """Only the thought is searched for marks, not what follows it."""
    assert split("<think>Hm.</think>Close it by </think>.")[1] == "Close it by </think>."


class TestChannels:
    def test_the_answer_is_the_final_message(self):
        """Neither the analysis nor a preamble is the answer."""
        assert split(f"{HARMONY}Four.") == (HARMONY, "Four.")
        assert split(f"{HARMONY}Four.<|return|>") == (HARMONY, "Four.")

    def test_without_a_final_message_there_is_no_answer(self):
        """The text was cut in the analysis, or ended after it."""
        text = HARMONY.partition("<|end|>")[0]
        assert split(text, cut=True) == (text, "")
        assert split(f"{text}<|end|>") == (f"{text}<|end|>", "")

    def test_what_remains_without_special_tokens(self):
        """A server may have removed them, so that names of channels run into words."""
        assert split("analysisWe add.assistantfinalFour.") == (
            "analysisWe add.assistantfinal",
            "Four.",
        )
        assert split("analysisWe add. Score: 2", cut=True)[1] == ""


def test_an_answer_in_a_wrapping_is_unwrapped():
    """This holds only after a thought: elsewhere the tags belong to the answer."""
    assert split("<think>Hm.</think><answer>\nFour.\n</answer>")[1] == "Four."
    assert split("<think>Hm.</think><answer>\nFour")[1] == "Four"
    assert split("<answer>Four.</answer>") == ("", "<answer>Four.</answer>")


@pytest.mark.parametrize(
    ("prompt", "left_open", "closed_by"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>\n", "\n</think>\n\n"),
        ("<|Assistant|><think>", "<think>", "</think>"),
        ("x [THINK]", "[THINK]", "[/THINK]"),
        (
            "assistant<|channel|>analysis<|message|>",
            "<|channel|>analysis<|message|>",
            "<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
    ],
)
def test_a_thought_that_a_prompt_opens_can_be_closed(prompt, left_open, closed_by):
    """Closed without a word, it is an empty thought before the answer."""
    assert opened(prompt) == left_open
    assert closing(left_open) == closed_by
    assert split(f"{left_open}{closed_by}Four.")[1] == "Four."


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "<|im_start|>assistant\n",
        "<think>\n\n</think>\n\n",
        "<|start|>assistant",
        "[/THINK]",
        "<|channel|>final<|message|>",
    ],
)
def test_a_prompt_may_leave_nothing_open(prompt):
    """No thought is open without a mark, after a closed thought, and on the answer's channel."""
    assert opened(prompt) == ""


def test_marks_are_found_in_a_template():
    """They show that a template knows thoughts."""
    assert has_marks("{% if thinking %}<think>{% endif %}")
    assert not has_marks("<|im_start|>assistant")


def test_a_whole_text_keeps_the_closing_marks_it_names():
    """If nothing was removed from its beginning, a mark that nothing opened is a word."""
    text = "End your reasoning with </reasoning>. Then write the result."
    assert split(text, whole=True) == ("", text)
    assert split(text)[1] == ". Then write the result."


def test_an_answer_ends_where_another_channel_begins():
    """This holds even if the marks between the channels were removed."""
    text = "<|channel|>analysis<|message|>hmassistant<|channel|>final<|message|>Yes.assistant"
    assert split(f"{text}<|channel|>commentary<|message|>more")[1] == "Yes."
