"""Where a thought ends and an answer begins, whatever the family's marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.engines.thoughts import MARKS, PAIRS, closing, has_marks, opened, split

HARMONY = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"


@pytest.mark.parametrize(("opening", "close"), PAIRS)
def test_a_thought_in_marks_is_no_answer(opening, close):
    """Of every family: the thought with its marks, and the answer from its first word on."""
    thought = f"{opening}\nTwo facts. Score: 2.\n{close}\n\n"
    assert split(f"{thought}Score: 5") == (thought, "Score: 5")


@pytest.mark.parametrize(("opening", "close"), PAIRS)
def test_a_mark_that_nothing_opened_ends_a_thought(opening, close):
    """The template had opened it."""
    assert split(f"Two facts.{close} Four.") == (f"Two facts.{close} ", "Four.")


@pytest.mark.parametrize("opening", [opening for opening, _ in PAIRS])
@pytest.mark.parametrize("cut", [True, False])
def test_a_thought_that_never_ends_has_no_answer(opening, cut):
    """Whatever it says, no word of it is the answer."""
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
    """A model that does not think has the answers it had."""
    if not text.lstrip().startswith(("analysis", "commentary")):
        assert split(text) == ("", text)


@given(
    st.lists(st.sampled_from([*sorted(MARKS), "final", "Hm.", " ", "\n", "<answer>", "</answer>"]))
)
def test_nothing_of_a_thought_is_lost(parts):
    """Thought and answer begin the raw text, so that both can be told apart anew."""
    text = "".join(parts)
    for cut in (True, False):
        assert text.startswith("".join(split(text, cut)))


def test_several_thoughts_in_a_row():
    """The answer follows the last."""
    thought = "<think>One.</think>\n<think>Two.</think>\n"
    assert split(f"{thought}Three.") == (thought, "Three.")


def test_marks_that_a_thought_quotes_count_in_pairs():
    """A thought about marks ends at its own."""
    quoting = "<think>Put <think> and </think> around it. Score: 1</think>"
    assert split(f"{quoting}Done.") == (quoting, "Done.")
    assert split(quoting.removesuffix("</think>"), cut=True)[1] == ""


def test_marks_that_do_not_add_up():
    """The last one ends the thought of a whole text; of a cut one nobody knows."""
    text = "<think>What is <think>?</think>A mark."
    assert split(text)[1] == "A mark."
    assert split(text, cut=True)[1] == ""


def test_an_answer_may_quote_marks():
    """What stands behind the thought is not searched."""
    assert split("<think>Hm.</think>Close it by </think>.")[1] == "Close it by </think>."


class TestChannels:
    def test_the_answer_is_the_final_message(self):
        """Not the analysis, nor a preamble before it."""
        assert split(f"{HARMONY}Four.") == (HARMONY, "Four.")
        assert split(f"{HARMONY}Four.<|return|>") == (HARMONY, "Four.")

    def test_without_a_final_message_there_is_no_answer(self):
        """Cut in the analysis, or ended behind it."""
        text = HARMONY.partition("<|end|>")[0]
        assert split(text, cut=True) == (text, "")
        assert split(f"{text}<|end|>") == (f"{text}<|end|>", "")

    def test_what_remains_without_special_tokens(self):
        """A server may have taken them off: names of channels run into words."""
        assert split("analysisWe add.assistantfinalFour.") == (
            "analysisWe add.assistantfinal",
            "Four.",
        )
        assert split("analysisWe add. Score: 2", cut=True)[1] == ""


def test_an_answer_in_a_wrapping_is_unwrapped():
    """Behind a thought alone: elsewhere the tags are the answer's own."""
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
    """What is left open, closed without a word, leaves an empty thought before the answer."""
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
    """No mark, a closed thought, the answer's own channel."""
    assert opened(prompt) == ""


def test_marks_are_found_in_a_template():
    """They tell a template that knows of thoughts."""
    assert has_marks("{% if thinking %}<think>{% endif %}")
    assert not has_marks("<|im_start|>assistant")


def test_a_whole_text_keeps_the_closing_marks_it_names():
    """Where nothing can have been taken off its beginning, a mark that nothing opened is a word."""
    text = "End your reasoning with </reasoning>. Then write the result."
    assert split(text, whole=True) == ("", text)
    assert split(text)[1] == ". Then write the result."


def test_an_answer_ends_where_another_channel_begins():
    """Also where the marks between them were taken off."""
    text = "<|channel|>analysis<|message|>hmassistant<|channel|>final<|message|>Yes.assistant"
    assert split(f"{text}<|channel|>commentary<|message|>more")[1] == "Yes."
