"""From every engine, the stages get only the answer of a model that thinks."""

import sys

import pandas as pd
import pytest

from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.servers.journal import Journal
from srlm_kedro.engines.generation.servers.openai import OpenAIEngine
from srlm_kedro.engines.generation.servers.replies import Reply, read_reply
from srlm_kedro.engines.generation.servers.vllm import VllmEngine
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.judge.judgements import judge_responses, reparse
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.records import Checkpoint
from tests.engines.models import TEMPLATE, write_qwen2
from tests.engines.test_vllm import write_vllm
from tests.engines.thinking import (
    BRACKETS,
    CHANNELS,
    OPENING,
    reciting_vllm,
    tokenizer_of,
    write_reciter,
)
from tests.server import serve
from tests.unit.in_memory import draw_responses, judge_candidates, reward_responses

ASKED = [Request("a", "Why?")]
OPENED = TEMPLATE.replace("<assistant>{% endif %}", "<assistant> <think>{% endif %}")
"""It opens the thought for the model, whose words hold the closing mark alone."""
THINKING = ["<assistant>", "<think>", "Two", "facts.", "</think>", "Because.", "Really.", "</s>"]
JUDGING = ["<assistant>", "<think>", "Score:", "2.", "Wait,", "</think>", "Total:", "Score", "</s>"]
JUDGE_PROMPT = "Q: {instruction}\nA: {response}\nEnd with Score: 5 or less"


def say(folder, script, template=TEMPLATE, sampling=None, requests=ASKED) -> Completion:
    """The completion of a model that recites the script, by TransformersEngine."""
    model = write_reciter(folder, script, template)
    engine = TransformersEngine(device="cpu", threads=1)
    return engine.generate(model, requests, sampling or Sampling(), 0)[0][0]


@pytest.fixture
def vllm(tmp_path):
    """The completion of a model that recites a text, by VllmEngine."""

    def said(text: str, template: str, finish: str = "stop", sampling=None) -> Completion:
        model = write_qwen2(tmp_path / "model")
        tokenizer = tokenizer_of(template)
        tokenizer.save_pretrained(model.path)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        environment = write_vllm(tmp_path, reciting_vllm(ids, finish))
        said.engine = VllmEngine(sys.executable, environment=environment)
        said.tokenizer = tokenizer
        (row,) = said.engine.generate(model, ASKED, sampling or Sampling(), 0)
        return row[0]

    yield said
    said.engine.release()


def test_the_answer_stands_apart_from_the_thought(tmp_path):
    """The completion counts the answer's tokens, and separately all that were sampled."""
    said = say(tmp_path, THINKING)
    assert said == Completion("Because. Really.", 3, "stop", "<think> Two facts. </think> ", 7)


def test_a_thought_that_the_template_opened(tmp_path):
    """The completion holds only the closing mark; the thought is kept as it was rendered."""
    script = [THINKING[1], *THINKING[2:]]
    said = say(tmp_path, script, OPENED)
    assert (said.text, said.tokens, said.drawn) == ("Because. Really.", 3, 6)
    assert said.thought.startswith("<think>")


def test_marks_that_are_special_tokens(tmp_path):
    """They are found before special tokens are removed."""
    script = [
        "[THINK]" if w == "<think>" else "[/THINK]" if w == "</think>" else w for w in THINKING
    ]
    said = say(tmp_path, script)
    assert (said.text, said.tokens) == ("Because. Really.", 3)
    assert said.thought.strip() == "[THINK]Two facts.[/THINK]"


def test_a_cut_thought_is_no_answer(tmp_path):
    """Nothing was said, and the limit ended it; opened by the model or by the template."""
    for number, (script, template) in enumerate([(THINKING, TEMPLATE), (THINKING[1:], OPENED)]):
        said = say(tmp_path / str(number), script, template, Sampling(max_new_tokens=3))
        assert (said.text, said.finish, said.drawn) == ("", "length", 3)
        assert "facts." in said.thought


def test_a_cut_answer_is_a_cut_answer(tmp_path):
    """The part of the answer is kept, and it counts as cut."""
    said = say(tmp_path, THINKING, sampling=Sampling(max_new_tokens=5))
    assert (said.text, said.finish, said.tokens) == ("Because.", "length", 1)


@pytest.mark.parametrize(("script", "template"), [(THINKING, TEMPLATE), (THINKING[1:], OPENED)])
def test_stop_strings_end_answers_alone(tmp_path, script, template):
    """A thought may hold one; the answer ends before it."""
    going_on = say(tmp_path / "a", script, template, Sampling(stop=("facts",)))
    assert (going_on.text, going_on.finish) == ("Because. Really.", "stop")
    stopped = say(tmp_path / "b", script, template, Sampling(stop=("Really",)))
    assert (stopped.text.strip(), stopped.finish) == ("Because.", "stop")
    assert stopped.drawn == len(script) - 2


def test_raw_text_begins_in_no_thought(tmp_path):
    """Only chats begin with what the template opens."""
    model = write_reciter(tmp_path, ["w", "Two", "facts.", "</s>"], OPENED)
    engine = TransformersEngine(device="cpu", threads=1)
    (row,) = engine.generate(model, [Request("a", "w", chat=False)], Sampling(), 0)
    assert (row[0].text, row[0].thought) == ("Two facts.", "")


class TestVllm:
    def test_channels(self, vllm):
        """The final message is the answer, and its tokens are counted."""
        before = "<|channel|>analysis<|message|>Two. Score: 2<|end|><|start|>assistant"
        answer = "The sea is wide."
        said = vllm(f"{before}<|channel|>final<|message|>{answer}<|return|>", CHANNELS)
        assert said.text == answer
        assert said.tokens == len(vllm.tokenizer(answer)["input_ids"]) + 1
        assert said.drawn > said.tokens
        assert "Score: 2" in said.thought

    @pytest.mark.parametrize(
        ("text", "template"),
        [
            ("<|channel|>analysis<|message|>Two. Score: 2", CHANNELS),
            ("[THINK]Two. Score: 2", BRACKETS),
            ("Two. Score: 2", OPENING),
        ],
    )
    def test_a_cut_thought_is_no_answer(self, vllm, text, template):
        """Whatever the family's marks."""
        said = vllm(text, template, "length")
        assert (said.text, said.finish) == ("", "length")

    def test_stop_strings_end_answers_alone(self, vllm):
        """vLLM, which would look for them in the thought, is not told."""
        text = "Two.\n\nThree.\n</think>\n\nThe sea.\n\nThe oak."
        said = vllm(text, OPENING, sampling=Sampling(stop=("\n\n",)))
        assert (said.text, said.finish) == ("The sea.", "stop")
        assert "stop strings: []" in vllm.engine._server.held.server.program.last_lines()


def reply(message: dict, finish: str = "stop", tokens: int = 100) -> Completion:
    body = {
        "choices": [{"message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1, "completion_tokens": tokens},
    }
    found = read_reply(body, 1, Sampling(stop=("END",)))
    assert isinstance(found, Reply)
    return found.completions[0]


class TestServers:
    @pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
    def test_a_thought_in_a_field_of_its_own(self, name):
        """The answer is the content; tokens are shared out by length."""
        said = reply({"content": "Four.", name: "It is two and two. Score: 2"})
        assert (said.text, said.drawn) == ("Four.", 100)
        assert 5 < said.tokens < 20
        assert "Score: 2" in said.thought

    def test_a_content_in_parts(self):
        """Mistral's servers send such contents."""
        parts = [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Two and two."}]},
            {"type": "text", "text": "Four."},
        ]
        said = reply({"content": parts})
        assert (said.text, "Two and two." in said.thought) == ("Four.", True)

    def test_a_thought_within_the_content(self):
        """A server that does not parse thoughts sends the raw text."""
        said = reply({"content": "Two END two.\n</think>\n\nFour. END Five."})
        assert (said.text, said.finish) == ("Four. ", "stop")

    @pytest.mark.parametrize(
        "message",
        [
            {"content": None, "reasoning_content": "Score: 2"},
            {"content": "", "reasoning": "Score: 2"},
            {"content": "<think>Score: 2. Wait, all three are right"},
        ],
    )
    def test_a_cut_thought_is_no_answer(self, message):
        """Wherever the server puts it."""
        said = reply(message, "length")
        assert (said.text, said.finish, said.tokens) == ("", "length", 0)
        assert "Score: 2" in said.thought

    def test_a_thought_that_ended_the_turn(self):
        """No answer began, so it is empty, and the reply is not malformed."""
        assert reply({"content": None, "reasoning_content": "Hm."}).text == ""

    def test_a_text_without_thought_costs_what_it_did(self):
        """All tokens belong to the answer."""
        said = reply({"content": "Four."})
        assert (said.tokens, said.drawn, said.thought) == (100, 100, "")


class TestKept:
    def test_a_journal_of_an_earlier_version(self, tmp_path):
        """Its completions are read by today's rules."""
        old = '{"key": "k", "text": "<think>Hm.</think>Four.", "tokens": 10, "finish": "stop"}\n'
        (tmp_path / "completions.jsonl").write_text(old)
        found = Journal(tmp_path).find("k")
        assert (found.text, found.thought, found.drawn) == ("Four.", "<think>Hm.</think>", 10)

    def test_what_is_kept_comes_back_whole(self, tmp_path):
        """A journal and a shard return the thought, the answer and both counts."""
        said = Completion("Close it by </think>.", 3, "stop", "<think>Hm.</think>", 9)
        Journal(tmp_path / "j").add("k", said)
        assert Journal(tmp_path / "j").find("k") == said

        class Once:
            def generate(self, model, requests, sampling, seed):
                return [[said]]

        model = Checkpoint(tmp_path, "m1")
        for engine in (Once(), None):
            sharded = ShardedEngine(engine, {}, tmp_path / "s")
            assert sharded.generate(model, ASKED, Sampling(), 0) == [[said]]


class TestStages:
    RESPONSES = pd.DataFrame(
        [("p", "p-r0", "Why?", "So.", 2, "stop"), ("p", "p-r1", "Why?", "No.", 2, "stop")],
        columns=["prompt_id", "response_id", "prompt", "response", "tokens", "finish"],
    )

    def test_no_score_is_read_from_a_cut_thought(self, tmp_path):
        """The judge had not decided yet: the judgement counts as cut, not as a 2."""
        model = write_reciter(tmp_path, JUDGING, TEMPLATE)
        engine = TransformersEngine(device="cpu", threads=1)
        sampling = {"n": 1, "max_new_tokens": 4}
        judging = JudgingParams(sampling=sampling, retries=0, max_unparsed=1)
        judged = judge_candidates(model, self.RESPONSES, JUDGE_PROMPT, engine, judging, 0)
        assert judged["score"].isna().all()
        assert set(judged["reason"]) == {"cut_off"}
        assert judged["thought"].str.contains("Score: 2. Wait,", regex=False).all()
        assert reparse(judged)["score"].isna().all()

    def test_the_score_is_the_answers(self, tmp_path):
        """A score in the thought does not count."""
        judge = lambda messages: "<think>Score: 2. Wait, all right.</think>All is there. Score: 4"  # noqa: E731
        with serve(judge) as server:
            judged = judge_responses(
                OpenAIEngine(server.url),
                Checkpoint(tmp_path, "judge"),
                JUDGE_PROMPT,
                self.RESPONSES,
                Sampling(),
                0,
            ).whole()
        assert judged["score"].tolist() == [4, 4]
        assert set(judged["text"]) == {"All is there. Score: 4"}
        judged, _ = reward_responses(self.RESPONSES, judged, JUDGE_PROMPT, JudgingParams())
        assert judged["reward"].tolist() == [4, 4]

    def test_candidates_are_answers(self, tmp_path):
        """Text, length and end are those of the answer; the thought is a column of its own."""
        model = write_reciter(tmp_path, THINKING, TEMPLATE)
        engine = TransformersEngine(device="cpu", threads=1)
        prompts = pd.DataFrame({"prompt_id": ["p"], "prompt": ["Why?"]})
        drawn = draw_responses(model, prompts, engine, ResponsesParams(), 0)
        assert set(drawn["response"]) == {"Because. Really."}
        assert set(drawn["tokens"]) == {3}
        assert set(drawn["thought"]) == {"<think> Two facts. </think> "}
