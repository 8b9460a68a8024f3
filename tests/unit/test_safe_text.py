"""Text of a model or a file, as it is shown."""

import pytest

from srlm_kedro.display.safe_text import encodable, escaped, one_line, quoted_end, render_page
from tests.hostile import HOSTILE, Skeleton, is_harmless

each = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


@each
def test_shown_text_steers_no_terminal(text):
    """This holds for text in lines, on one line, and at the end of a message."""
    assert is_harmless(escaped(text))
    for line in (one_line(text, 80), quoted_end(text)):
        assert is_harmless(line)
        assert "\n" not in line
        assert "\t" not in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\u202eb", r"a\u202eb"),
        ("\udfff", r"\udfff"),
        ("one\r\ntwo\tthree\rfour", "one\ntwo\tthree\\rfour"),
        (
            "Grüße, 你好 नमस्ते 👩\u200d🌾 e\u0301\u00a0x",
            "Grüße, 你好 नमस्ते 👩\u200d🌾 e\u0301\u00a0x",
        ),
    ],
)
def test_characters_without_a_shape_are_escaped_and_the_rest_stays(text, shown):
    """Other scripts, emoji and combining marks stay unchanged."""
    assert escaped(text) == shown


def test_long_texts_are_cut_with_a_mark():
    """A page or a message never shows a megabyte of text."""
    assert escaped("x" * 5000, 10) == "x" * 10 + "…"
    assert escaped("x" * 10, 10) == "x" * 10
    assert len(one_line(HOSTILE["line"], 80)) == 81
    assert quoted_end("is helpful but") == '"…is helpful but"'
    assert len(quoted_end(HOSTILE["line"])) == 43


@each
def test_encodable_text_can_be_saved(text):
    """Only half a surrogate pair is replaced."""
    kept = encodable(text).encode("utf-8").decode("utf-8")
    assert kept.replace("\ufffd", "") == "".join(c for c in text if not "\ud800" <= c <= "\udfff")


@each
def test_a_page_takes_no_markup_from_a_value(text):
    """All elements and attributes come from the template; the page is ASCII and has the words."""
    template = "<p title='a'>{{ text }}</p>{% for one in more %}<td>{{ one }}</td>{% endfor %}"
    made = render_page(template, text=text, more=[text, 7])
    seen, plain = Skeleton(made), Skeleton(render_page(template, text="plain", more=["plain", 7]))
    assert seen.elements == plain.elements
    assert made.isascii()
    assert is_harmless(made)
    assert seen.words == escaped(text) * 2 + "7"
