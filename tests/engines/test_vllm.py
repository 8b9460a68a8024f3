"""The engine that keeps vLLM in a child process, with stand-ins for vLLM.

That it keeps the contract of all engines is tested in test_generation_contract.py.
"""

import os
import signal
import sys
import time

import pytest

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.servers.vllm import VllmEngine
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Checkpoint

REQUESTS = [Request("a", "w1 w2 w3"), Request("b", "w4 w5")]
SAMPLING = Sampling(n=2, max_new_tokens=6)
TINY = """
from types import SimpleNamespace as Plain

print("vLLM says hello on standard output")

class SamplingParams:
    def __init__(self, **fields):
        self.fields = fields

class LLM:
    llm_engine = Plain(model_config=Plain(max_model_len=128))

    def __init__(self, model, tokenizer, dtype, seed, enable_prefix_caching, generation_config):
        assert enable_prefix_caching and generation_config == "vllm"

    def generate(self, prompts, sampling_params, use_tqdm):
        return [self.output(params.fields) for params in sampling_params]

    def output(self, fields):
        token = 6 + fields["seed"] % 40
        return Plain(outputs=[Plain(token_ids=[token], finish_reason="length")])
"""
"""A vLLM of one word a completion, which the seed names."""
DYING = (
    TINY
    + """
    def output(self, fields):
        import os
        print("CUDA error: the card is on fire", flush=True)
        os._exit(7)
"""
)
FAILING = (
    TINY
    + """
    def output(self, fields):
        raise RuntimeError("out of memory")
"""
)

ONCE = (
    TINY
    + """
    def generate(self, prompts, sampling_params, use_tqdm):
        import os, pathlib, time
        mark = pathlib.Path(__file__).with_name("failed")
        if not mark.exists():
            mark.touch()
            FAULT
        return [self.output(params.fields) for params in sampling_params]
"""
)
"""One that meets its fault in its first process alone."""


@pytest.fixture
def start(tmp_path):
    """Makes an engine with a stand-in for vLLM whose source is given."""

    def engine(source: str = TINY, **options) -> VllmEngine:
        (tmp_path / "vllm.py").write_text(source)
        return VllmEngine(sys.executable, environment={"PYTHONPATH": str(tmp_path)}, **options)

    return engine


def process(engine: VllmEngine) -> int:
    return engine._held.child._process.pid


def gone(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return False


def test_one_process_serves_all_calls(start, checkpoint):
    """The model is loaded once; what vLLM prints is not taken for answers."""
    engine = start()
    first = engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    number = process(engine)
    assert engine.generate(checkpoint, REQUESTS, SAMPLING, 0) == first
    assert process(engine) == number
    child, patience = engine._held.child, time.monotonic() + 60
    while not child.last_lines() and time.monotonic() < patience:
        time.sleep(0.01)  # another thread takes it in
    assert "hello on standard output" in child.last_lines()


def test_chunks_change_nothing(start, checkpoint):
    """Completions do not depend on how many are asked for at once."""
    small, large = start(chunk=3), start(chunk=100)
    rows = small.generate(checkpoint, REQUESTS, SAMPLING, 0)
    assert large.generate(checkpoint, REQUESTS, SAMPLING, 0) == rows


def test_prompts_that_do_not_fit_are_refused_together(start, checkpoint):
    """The message names each prompt that is too long; vLLM is not asked."""
    long = [Request(f"long{i}", "w1 " * 200) for i in range(2)]
    with pytest.raises(InputError, match=r"(?s)2 of 3 prompts do not fit.*long0: .*long1: "):
        start(DYING).generate(checkpoint, [*REQUESTS[:1], *long], SAMPLING, 0)


def test_a_killed_child_is_replaced(start, checkpoint):
    """After a kill, the next call starts another process and gets the same completions."""
    engine = start()
    rows = engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    os.kill(process(engine), signal.SIGKILL)
    engine._held.child._process.wait()
    assert engine.generate(checkpoint, REQUESTS, SAMPLING, 0) == rows


def test_release_ends_the_process(start, checkpoint):
    """No process is left, so that the GPU's memory is free for training."""
    engine = start()
    engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    number = process(engine)
    engine.release()
    assert gone(number)


def test_an_engine_that_is_dropped_ends_its_process(start, checkpoint):
    """Without a call of release(), the child ends together with its engine."""
    engine = start()
    engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    number = process(engine)
    del engine
    assert gone(number)


def test_a_dying_child_leaves_its_last_lines(start, checkpoint):
    """The message holds the status and the last lines of vLLM's output."""
    with pytest.raises(GateError, match=r"(?s)died \(status 7\).*the card is on fire"):
        start(DYING, retries=0).generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_a_failure_of_vllm_is_told(start, checkpoint):
    """The message holds what vLLM raised, and the process is ended."""
    engine = start(FAILING, retries=0)
    with pytest.raises(GateError, match=r"vLLM failed: RuntimeError: out of memory"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    assert not engine._held.child.alive


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("os._exit(7)", "died (status 7)"),
        ("raise RuntimeError('out of memory')", "out of memory"),
        ("time.sleep(600)", "had not answered for 2 s"),
    ],
)
def test_a_chunk_is_tried_again_in_a_new_process(start, checkpoint, fault, told, caplog):
    """After a death, a failure or a hang, the completions are those of an undisturbed run."""
    drawn = start().generate(checkpoint, REQUESTS, SAMPLING, 0)
    again = start(ONCE.replace("FAULT", fault), patience=2.0)
    assert again.generate(checkpoint, REQUESTS, SAMPLING, 0) == drawn
    assert told in caplog.text
    assert "tried again in a new process" in caplog.text


def test_tries_have_an_end(start, checkpoint, caplog):
    """After two more tries the run stops with the last message."""
    with pytest.raises(GateError, match="the card is on fire"):
        start(DYING).generate(checkpoint, REQUESTS, SAMPLING, 0)
    assert caplog.text.count("tried again") == 2


def test_a_wrong_option_is_told(start, checkpoint):
    """The message says which option vLLM refused."""
    engine = start(llm_options={"tensors": 2})
    with pytest.raises(InputError, match=r"(?s)cannot load it: TypeError: .*'tensors'"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_an_environment_without_vllm_is_told(checkpoint):
    """The message names the interpreter; our own module vllm.py is not taken for vLLM."""
    engine = VllmEngine(sys.executable)
    with pytest.raises(InputError, match=r"No module named 'vllm'.*install vLLM there"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_a_missing_interpreter_is_told(checkpoint, tmp_path):
    """The message names a mistyped path."""
    engine = VllmEngine(str(tmp_path / "python"))
    with pytest.raises(InputError, match=r"python cannot be started: No such file"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_a_folder_without_a_model_is_told(start, tmp_path):
    """The message names the model before vLLM is started."""
    with pytest.raises(InputError, match=r"m9: .*m9 cannot be read"):
        start().generate(Checkpoint(tmp_path / "m9", "m9"), REQUESTS, SAMPLING, 0)
