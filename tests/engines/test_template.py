"""What chat templates get in addition to the chat: arguments, and one date whatever the day."""

from datetime import datetime

import pytest
from transformers.utils import chat_template_utils

from srlm_kedro.engines.generation.servers.vllm import VllmEngine
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.engines.published.lm_eval import LmEvalEngine
from srlm_kedro.engines.template import bind, checked
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.errors import InputError
from tests.engines.models import CHATML
from tests.engines.thinking import DATED, HYBRID, tokenizer_of

ASKED = [{"role": "user", "content": "Why?"}]


@pytest.fixture
def clock(monkeypatch):
    """`clock(day)` sets the day that the renderer's clock returns."""

    class Clock(datetime):
        day = datetime(2026, 1, 1)

        @classmethod
        def now(cls, tz=None):
            return cls.day

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    return lambda *day: setattr(Clock, "day", datetime(*day))


def rendered(template: str, arguments=None, bound: bool = True) -> str:
    tokenizer = tokenizer_of(template)
    if bound:
        bind(tokenizer, checked(arguments), "m0")
    return tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)


def test_an_argument_reaches_the_template():
    """`enable_thinking: false` writes the empty thought; without it the template decides."""
    assert rendered(HYBRID).endswith("assistant\n")
    assert rendered(HYBRID, {"enable_thinking": True}) == rendered(HYBRID)
    thoughtless = rendered(HYBRID, {"enable_thinking": False})
    assert thoughtless == f"{rendered(HYBRID)}<think>\n\n</think>\n\n"


@pytest.mark.parametrize("value", ['a "quoted" word', "two\nlines \\ 雪 😀", 3, 0.5, True, ""])
def test_every_kind_of_value_arrives_whole(value):
    """The template sees the value as the renderer itself would pass it."""
    template = "{{ style }}|{{ style is string }}{{ messages[0].content }}"
    tokenizer = tokenizer_of(template)
    wanted = tokenizer.apply_chat_template(ASKED, tokenize=False, style=value)
    assert rendered(template, {"style": value}) == wanted


def test_a_template_with_nothing_to_tell_is_not_touched():
    """Without an argument and without a clock, no character changes."""
    tokenizer = tokenizer_of(CHATML)
    bind(tokenizer, {}, "m0")
    assert tokenizer.chat_template == CHATML


def test_the_first_line_stays_the_first():
    """What is written before a template removes none of its line breaks."""
    template = "\nfirst {{ style }}{{ strftime_now('%Y') }}\n"
    assert rendered(template, {"style": "x"}) == "\nfirst x2024"


@pytest.mark.parametrize("start", ["    {% if true %}", "  {# a remark #}\n", "\n", "  "])
def test_what_a_template_begins_with_stays(start):
    """Spaces and line breaks before the first block are rendered as without arguments."""
    template = start + "{{ messages[0].content }}" + ("{% endif %}" if "if" in start else "")
    assert rendered(template) == rendered(template, bound=False)


def test_a_name_in_the_prose_of_a_template_is_not_read():
    """A name outside the template's code reads no argument, so the argument is refused."""
    with pytest.raises(InputError, match="date"):
        rendered("Today's date {{ messages[0].content }}", {"date": "2025-01-01"})


class TestDates:
    def test_every_directive_of_the_clock_is_told(self, clock):
        """On the fixed day, each directive gives what the renderer's clock gives."""
        clock(2024, 7, 26)
        template = "{{ strftime_now('%F %D %e %R %j %y %B') }}{{ messages[0].content }}"
        assert rendered(template) == rendered(template, bound=False)

    def test_the_day_does_not_matter(self, clock):
        """A bound template renders one prompt on two days; a plain one renders two prompts."""
        days = [(2026, 11, 30), (2026, 12, 1)]
        plain, bound = [], []
        for day in days:
            clock(*day)
            plain.append(rendered(DATED, bound=False))
            bound.append(rendered(DATED))
        assert plain[0] != plain[1]
        assert bound[0] == bound[1]
        assert bound[0].startswith("Today: 26 Jul 2024\n")

    def test_a_day_of_ones_own(self, clock):
        """`date` sets the clock, in every format that the template asks for."""
        template = "{{ strftime_now('%Y-%m-%d, %A %-d %B %y %H:%M') }}{{ messages[0].content }}"
        told = rendered(template, {"date": "2026-03-01"})
        assert told == "2026-03-01, Sunday 1 March 26 00:00Why?"

    def test_a_date_that_the_template_names_itself(self):
        """The template's own argument for the date takes precedence over its clock."""
        assert rendered(DATED, {"day": "Monday"}).startswith("Today: Monday\n")

    def test_a_clock_that_is_asked_within_a_macro(self):
        """The clock works inside a macro of the template too."""
        template = (
            "{% macro head() %}{{ strftime_now('%d') }}{% endmacro %}"
            "{% for m in messages %}{{ head() }}{% endfor %}"
        )
        assert rendered(template, {"date": "2026-03-07"}) == "07"


class TestRefusals:
    def test_an_argument_that_the_template_never_reads(self):
        """A mistyped name has no effect, so it is refused; the message suggests the right one."""
        with pytest.raises(InputError, match=r"(?s)m0: .*enable_thinkin: did you mean enable_thin"):
            rendered(HYBRID, {"enable_thinkin": False})

    def test_a_date_without_a_clock(self):
        """A date is refused if the template has no clock."""
        with pytest.raises(InputError, match="date"):
            rendered(HYBRID, {"date": "2026-01-01"})

    def test_arguments_without_a_template(self):
        """The plain format reads no arguments, so they are refused."""
        with pytest.raises(InputError, match="enable_thinking"):
            rendered(None, {"enable_thinking": False})

    @pytest.mark.parametrize(
        "make",
        [
            lambda template: TransformersEngine(template=template),
            lambda template: VllmEngine("python", template=template),
            lambda template: TrlEngine(template=template),
            lambda template: LmEvalEngine(template=template),
        ],
    )
    def test_engines_refuse_what_no_template_can_be_given(self, make):
        """All faults are named at once, when the engine is made."""
        faulty = {
            "messages": "none",
            "strftime_now": "noon",
            "no name": 1,
            "styles": ["a"],
            "date": "tomorrow",
        }
        with pytest.raises(InputError) as caught:
            make(faulty)
        assert all(name in str(caught.value) for name in faulty)
