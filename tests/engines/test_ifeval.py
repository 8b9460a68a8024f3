"""IFEval in lm-eval, on three rows of our own, without a network."""

import json

import pytest

from srlm_kedro.errors import InputError
from tests.engines.models import TEMPLATE
from tests.engines.thinking import write_reciter

pytest.importorskip("lm_eval")
pytest.importorskip("immutabledict")

import langdetect
import nltk

from srlm_kedro.engines.published import ifeval
from srlm_kedro.engines.published.lm_eval import LmEvalEngine

SAYS = ["<assistant>", "Hello", "there", "goodbye", "</s>"]
NO_COMMA, KEYWORDS = "punctuation:no_comma", "keywords:existence"
WORDS, SENTENCES = "length_constraints:number_words", "length_constraints:number_sentences"


def _row(key, programs, kwargs):
    return {"key": key, "prompt": f"Say {key}.", "instruction_id_list": programs, "kwargs": kwargs}


ROWS = [
    _row(1, [NO_COMMA], [{}]),
    _row(2, [NO_COMMA, WORDS], [{}, {"relation": "at least", "num_words": 300}]),
    _row(3, [KEYWORDS], [{"keywords": ["goodbye"]}]),
]
RHYMED = _row(6, ["poetry:rhyme"], [{}])
COUNTED = _row(4, [SENTENCES], [{"relation": "less than", "num_sentences": 3}])


@pytest.fixture
def file(tmp_path):
    def write(*rows):
        path = tmp_path / "ifeval.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        return str(path)

    return write


@pytest.fixture
def without_sentences(monkeypatch, tmp_path):
    """NLTK has no data, and an attempt to fetch some fails the test."""

    def fetch(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(nltk, "download", fetch)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_reciter(tmp_path_factory.mktemp("reciter"), SAYS, TEMPLATE)


def _figures(model, file, **options):
    engine = LmEvalEngine(device="cpu", chat=True, ifeval_file=file, **options)
    return engine.run(model, ["ifeval"], None, 0)["ifeval"]


def test_the_file_is_checked_by_lm_evals_programs(model, file, without_sentences, capfd):
    """`Hello there goodbye` meets two of three prompts, and three of four instructions."""
    capfd.readouterr()
    figures = _figures(model, file(*ROWS))
    for kind in ("strict", "loose"):
        assert figures[f"prompt_level_{kind}_acc"] == pytest.approx(2 / 3)
        assert figures[f"inst_level_{kind}_acc"] == pytest.approx(3 / 4)
    assert "prompt_level_strict_acc_stderr" in figures
    assert capfd.readouterr().out == ""


def test_a_shorter_limit_cuts_the_answers(model, file, without_sentences):
    """With two tokens nobody says goodbye."""
    figures = _figures(model, file(*ROWS), ifeval_max_gen_toks=2)
    assert figures["prompt_level_strict_acc"] == pytest.approx(1 / 3)


def test_a_missing_model_of_sentences_is_refused_before_work(model, file, without_sentences):
    """The message names the prompts that need it and how to fetch it, and nothing is fetched."""
    path = file(*ROWS, COUNTED)
    engine = LmEvalEngine(device="cpu", chat=True, ifeval_file=path)
    with pytest.raises(InputError) as refused:
        engine.refuse_unready()
    message = str(refused.value)
    assert "1 of 4 answers" in message
    assert "prompt 4: 'Say 4.'" in message
    assert "python -m nltk.downloader punkt_tab" in message
    assert "NLTK_DATA" in message
    with pytest.raises(InputError, match="punkt_tab"):
        engine.run(model, ["ifeval"], None, 0)


def test_prompts_beyond_the_limit_need_no_model_of_sentences(model, file, without_sentences):
    """The first three prompts do without."""
    engine = LmEvalEngine(device="cpu", chat=True, ifeval_file=file(*ROWS, COUNTED))
    assert "prompt_level_strict_acc" in engine.run(model, ["ifeval"], 3, 0)["ifeval"]


def test_a_model_of_sentences_is_found_where_nltk_looks(file, without_sentences, tmp_path):
    """NLTK's own folders count."""
    (tmp_path / "tokenizers/punkt_tab/english").mkdir(parents=True)
    LmEvalEngine(ifeval_file=file(COUNTED)).refuse_unready()


def test_faulty_rows_are_refused_together(file):
    """Each with its line: a missing field, lists of two lengths, no JSON."""
    path = file(ROWS[0], {"key": 1, "prompt": "Why?"}, _row(5, [NO_COMMA], []))
    with open(path, "a", encoding="utf-8") as end:
        end.write("{\n")
    with pytest.raises(InputError) as refused:
        ifeval.refuse_unready(path)
    message = str(refused.value)
    assert "3 bad rows of 4" in message
    assert "line 2: `instruction_id_list`: Field required" in message
    assert "line 3" in message
    assert "the same length" in message
    assert "line 4" in message


def test_a_missing_file_is_refused(tmp_path):
    """The message names the file and the option."""
    with pytest.raises(InputError, match=r"none\.jsonl is not there.*`ifeval_file`"):
        LmEvalEngine(ifeval_file=str(tmp_path / "none.jsonl")).refuse_unready()


def test_an_unknown_program_is_refused(file, without_sentences):
    """Before answers are drawn that nobody can check."""
    with pytest.raises(InputError, match="no program for poetry:rhyme"):
        LmEvalEngine(ifeval_file=file(ROWS[0], RHYMED)).refuse_unready()


def test_the_guess_of_a_language_is_the_same_each_time():
    """langdetect draws at random; its seed is set inside and put back."""
    before = langdetect.DetectorFactory.seed
    with ifeval.same_languages():
        assert len({langdetect.detect("no si la le me") for _ in range(20)}) == 1
    assert langdetect.DetectorFactory.seed is before
