"""The report, its figures, and the summary of a run."""

import re
from functools import cache
from html.parser import HTMLParser

import pandas as pd
import pytest

from srlm_kedro.display.safe_text import escaped
from srlm_kedro.pipelines.reporting.plots import (
    plot_errors,
    plot_head_to_head,
    plot_rewards,
    plot_scores,
)
from srlm_kedro.pipelines.reporting.report import pick_answers, write_report
from srlm_kedro.pipelines.reporting.summary import summarise_run
from tests.hostile import SOUND, Skeleton, is_harmless
from tests.unit.in_memory import pick_judged

from . import tables


def page(response="an answer", judgement="It is fine.", studied=True):
    scores = [tables.eval_scores(model, response) for model in tables.MODELS]
    judged = pick_judged(tables.judged_responses(response), tables.judgements(judgement), 0)
    return write_report(
        tables.head_to_head(),
        tables.reward_modelling(),
        tables.iterations(),
        tables.errors(),
        tables.study() if studied else pd.DataFrame({"model": []}),
        pick_answers(0, *scores),
        judged,
    )


@cache
def plain_elements():
    """The elements of a page with plain text."""
    return Skeleton(page()).elements


class Elements(HTMLParser):
    """The elements of a page, and the addresses that it names."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.handlers, self.addresses, self.words = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_text_of_a_model_is_shown_as_data(text):
    """The page has the same elements and attributes as for plain text."""
    written = page(text, text)
    seen = Skeleton(written)
    assert seen.elements == plain_elements()
    assert written.isascii()
    assert is_harmless(written)
    assert escaped(f"{text} 1") in seen.words
    assert len(written) < 200_000


def test_the_page_needs_nothing_from_the_network():
    """No script, no picture, no style sheet, no address."""
    written = page()
    seen = Elements(written)
    assert seen.addresses == []
    assert not re.search(r"https?://|@import|url\(", written)


def test_the_page_holds_every_table():
    """It has the figures of each table, and a hyphen for each missing one."""
    words = " ".join(" ".join(Elements(page()).words).split())
    for text in (
        "M1 to M2",
        "-16.7",
        "-10.0 to +30.0",
        "78.7",
        "0.960",
        "own right items",
        "12.5",
        "1.235",
        "It is right.",
        "an answer",
    ):
        assert text in words
    assert "nan" not in words


def test_what_was_not_studied_has_no_section():
    """The rest of the page is complete."""
    assert "Stage by stage" in page()
    assert "Stage by stage" not in page(studied=False)


def test_bars_lie_where_the_figures_are():
    """From -100 to +100: the interval -10 to 30 begins at 45% and is 20% wide."""
    assert 'style="left: 45.0%; width: 20.0%"' in page()


def test_answers_are_of_the_same_prompts_for_all_models():
    """They are greedy, or the first sampled ones if none is greedy."""
    for greedy, score in ((True, [4.0, 4.0]), (False, [5.0, 2.0])):
        scores = [tables.eval_scores(model, greedy=greedy) for model in tables.MODELS]
        picked = pick_answers(0, *scores)
        assert picked.groupby("model").size().tolist() == [2, 2, 2]
        assert picked.loc[picked["model"] == "m1", "score"].tolist() == score


def test_judged_samples_are_the_best_and_the_worst_with_a_judgement():
    """The judgement has a score; prompts without rewards are not chosen."""
    picked = pick_judged(tables.judged_responses(), tables.judgements(), 0)
    assert picked["reward"].tolist() == [4.0, 1.0]
    assert picked["judgement"].tolist() == ["It is fine. r1-1", "It is fine. r0-1"]


def test_few_prompts_are_drawn_by_the_seed():
    """They depend on the seed, and are six at most."""
    table = pd.concat(
        tables.eval_scores("m1").assign(prompt_id=f"e{n}", prompt=str(n)).iloc[2:3]
        for n in range(30)
    )
    first, again, other = (list(pick_answers(seed, table)["prompt"]) for seed in (0, 0, 1))
    assert len(first) == 6
    assert first == again
    assert first != other


def summary():
    return summarise_run(
        tables.head_to_head(),
        tables.reward_modelling(),
        tables.iterations(),
        tables.errors(),
        tables.timings(),
    )


def test_the_summary_has_a_line_a_model():
    """Head-to-head with intervals, score, errors, judge, length, pairs, seconds; plain ASCII."""
    text = summary()
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    cells = re.split(r"\s{2,}", lines["M2"])
    assert cells == [
        *("M2", "-16.7 (-10.0 to +30.0)", "+30.0 (-10.0 to +30.0)", "3.50"),
        *("0.50", "0.25", "0.00", "0.50", "78.7%", "10.0", "2", "24 s"),
    ]
    assert re.split(r"\s{2,}", lines["SFT"])[1:3] == ["-", "-"]
    assert re.split(r"\s{2,}", lines["M1"])[1:3] == ["-", "+10.0 (-10.0 to +30.0)"]
    assert text.isascii()


def test_the_summary_sums_what_these_models_needed():
    """M0 counts; a model of another run does not."""
    text = summary()
    assert "130 s in all (M0 100, SFT 7, M2 24)" in text


@pytest.mark.parametrize(
    ("draw", "given", "traces"),
    [
        (plot_head_to_head, tables.head_to_head, 1),
        (plot_scores, tables.errors, 6),
        (plot_errors, tables.errors, 4),
        (plot_rewards, tables.judged_responses, 1),
    ],
)
def test_figures_draw_what_the_tables_say(draw, given, traces):
    """Each is a plotly figure with a title."""
    figure = draw(given())
    assert len(figure.data) == traces
    assert figure.layout.title.text


def test_bars_of_the_head_to_head_carry_the_interval():
    """From low to high around win minus loss."""
    bar = plot_head_to_head(tables.head_to_head()).data[0]
    assert list(bar.x) == ["M1 - SFT", "M2 - M1", "M2 - SFT"]
    assert bar.y[0] == 10
    assert (bar.error_y.array[0], bar.error_y.arrayminus[0]) == (20, 20)


@pytest.mark.parametrize(
    "title",
    ["Head-to-head", "The referee's scores", "The models as judges", "The iterations"],
)
def test_every_column_is_told_in_the_lines_above_its_table(title):
    """So a newcomer can read the page."""
    section = next(part for part in page().split("<h2>") if part.startswith(title))
    note = section.split("<table>")[0].lower()
    heads = re.findall(r"<th[^>]*>([^<]+)</th>", section)
    known = {"model", "against", "win - loss", "95% interval"}
    words = [head.removesuffix(", %").lower() for head in heads if head not in known]
    assert len(words) > 3
    assert [word for word in words if word.removesuffix(" kinds") not in note] == []


def test_every_column_of_the_summary_is_told_below_it():
    """All but the model's name."""
    head, *_, legend = summary().partition("\n\n")
    names = [name.split()[0] for name in re.split(r"\s{2,}", head.splitlines()[0])]
    assert [name for name in names[1:] if name not in legend] == []
