"""Keeps lm-eval's IFEval from the network: it fetches a model of sentences at its import."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Inside, the import of IFEval's programs fetches nothing and prints nothing.

    NLTK must be installed.
    """
    import nltk

    fetch, nltk.download = nltk.download, lambda *_, **__: True
    try:
        with redirect_stdout(io.StringIO()):  # lm-eval says that it fetched what it did not
            yield
    finally:
        nltk.download = fetch
