"""Texts as models, people and broken files write them."""

from hypothesis import strategies as st

from srlm_kedro.display.safe_text import encodable
from tests.hostile import HOSTILE

SHORT = [text for text in HOSTILE.values() if len(text) < 1000]

any_text = st.text() | st.text(st.characters()) | st.sampled_from(SHORT)
"""Any characters, half surrogate pairs among them, and what is known to do harm."""

sound_text = any_text.map(encodable)
"""As tables can hold it."""


def mixed(*pieces: str) -> st.SearchStrategy[str]:
    """Pieces that a pattern looks for, with other text between them."""
    return st.lists(st.sampled_from(pieces) | any_text, max_size=12).map("".join)
