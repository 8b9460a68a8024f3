"""The judge prompt is checked, filled and versioned."""

import pytest

from srlm_kedro.errors import InputError
from srlm_kedro.judge.prompt import check_judge_prompt, fill_judge_prompt, prompt_version

TEMPLATE = "Q: {instruction}\nA: {response}\nEnd with Score:"


def test_text_with_braces_stays_as_it_is():
    """Places named in a prompt or a response are not filled, and other braces do no harm."""
    filled = fill_judge_prompt(TEMPLATE, "say {response} {0}", "{instruction} \\1 {")
    assert filled == "Q: say {response} {0}\nA: {instruction} \\1 {\nEnd with Score:"


def test_a_sound_template_passes():
    """A template with both places and a score is given back."""
    assert check_judge_prompt(TEMPLATE) == TEMPLATE


def test_all_faults_of_a_template_are_named():
    """A missing place, a doubled one and no word of a score come in one message."""
    with pytest.raises(InputError) as refused:
        check_judge_prompt("{response} {response}")
    assert "{instruction} must stand in it once, found 0" in str(refused.value)
    assert "{response} must stand in it once, found 2" in str(refused.value)
    assert "Score:" in str(refused.value)


def test_a_version_changes_with_the_text():
    """Two templates that differ have different versions."""
    assert prompt_version(TEMPLATE) == prompt_version(TEMPLATE)
    assert prompt_version(TEMPLATE) != prompt_version(TEMPLATE + " ")
    assert len(prompt_version(TEMPLATE)) == 12
