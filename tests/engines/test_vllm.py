"""The engine that starts vLLM's server, with stand-ins for vLLM.

That it keeps the contract of all engines is tested in test_generation_contract.py.
"""

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.servers.vllm import VllmEngine
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Checkpoint

REQUESTS = [Request("a", "w1 w2 w3"), Request("b", "w4 w5")]
SAMPLING = Sampling(n=2, max_new_tokens=6)
ROOT = Path(__file__).parents[2]
TINY = """
from tests.engines.vllm_http import serve

print("vLLM says hello", flush=True)

def complete(body):
    FAULT
    return {"token_ids": [6 + body["seed"] % 40], "finish_reason": "length"}

serve(lambda options: complete)
"""
"""A server of one word a completion, which the seed names."""
ONCE = """import os, pathlib, time
    mark = pathlib.Path(__file__).with_name("failed")
    if not mark.exists():
        mark.touch()
        BREAK
"""
"""What meets its fault in its first server alone."""


def write_vllm(folder: Path, source: str) -> dict[str, str]:
    """The environment in which `vllm serve` is this source."""
    program = folder / "vllm" / "entrypoints" / "cli" / "main.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(source)
    return {"PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT / "src", ROOT)))}


@pytest.fixture
def start(tmp_path):
    """Makes an engine with a stand-in for vLLM, whose completions begin with a fault."""
    made = []

    def engine(fault: str = "pass", **options) -> VllmEngine:
        environment = write_vllm(tmp_path, TINY.replace("FAULT", fault))
        made.append(VllmEngine(sys.executable, environment=environment, **options))
        return made[-1]

    yield engine
    for one in made:
        one.release()


def process(engine: VllmEngine) -> int:
    """The process that guards the server."""
    return engine._server.held.server.program.process.pid


def gone(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return False


def test_one_server_takes_all_calls(start, checkpoint):
    """The model is loaded once; what vLLM prints is kept for messages."""
    engine = start()
    first = engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    number = process(engine)
    assert engine.generate(checkpoint, REQUESTS, SAMPLING, 0) == first
    assert process(engine) == number
    assert "vLLM says hello" in engine._server.held.server.program.last_lines()


def test_threads_share_one_server_also_after_its_death(start, checkpoint):
    """A replica asks for two shards at once; a server that dies under both is replaced once."""
    engine = start()
    shards = [REQUESTS[::2], REQUESTS[1::2]]
    draw = partial(engine.generate, checkpoint, sampling=SAMPLING, seed=0)
    expected = [draw(shard) for shard in shards]
    os.killpg(process(engine), signal.SIGKILL)
    engine._server.held.server.program.process.wait()
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(draw, shards)) == expected
    first = process(engine)
    assert [draw(shard) for shard in shards] == expected
    assert process(engine) == first


def test_a_call_that_nobody_waits_for_starts_no_server_after_the_release(start, checkpoint):
    """The last shards are drawn twice, so such a call is usual when a stage ends."""
    engine = start("import time; time.sleep(60)")
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(engine.generate, checkpoint, REQUESTS, SAMPLING, 0)
        while engine._server.held is None:
            time.sleep(0.05)
        engine.release()
        with pytest.raises(GateError, match="nobody asks for it any more"):
            call.result(timeout=60)
    assert engine._server.held is None


def test_a_call_of_an_earlier_model_gives_way_to_the_next_one(start, checkpoint, tmp_path):
    """It does not end the next model's server."""
    other = Checkpoint(tmp_path / "copy", "m2")
    shutil.copytree(checkpoint.path, other.path)
    engine = start("import time; time.sleep(8)")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(engine.generate, checkpoint, REQUESTS, SAMPLING, 0)
        while engine._server.held is None:
            time.sleep(0.05)
        assert len(engine.generate(other, REQUESTS, Sampling(max_new_tokens=2), 0)) == 2
        number = process(engine)
        with pytest.raises(GateError):
            first.result(timeout=120)
    assert process(engine) == number


def test_the_number_of_calls_under_way_changes_nothing(start, checkpoint):
    """Completions have seeds of their own."""
    rows = start(concurrency=1).generate(checkpoint, REQUESTS, SAMPLING, 0)
    assert start(concurrency=100).generate(checkpoint, REQUESTS, SAMPLING, 0) == rows


def test_prompts_that_do_not_fit_are_refused_together(start, checkpoint):
    """The message names each prompt that is too long; vLLM is not asked."""
    long = [Request(f"long{i}", "w1 " * 200) for i in range(2)]
    with pytest.raises(InputError, match=r"(?s)2 of 3 prompts do not fit.*long0: .*long1: "):
        start("1 / 0").generate(checkpoint, [*REQUESTS[:1], *long], SAMPLING, 0)


def test_a_killed_server_is_replaced(start, checkpoint):
    """After a kill, the next call starts another one and gets the same completions."""
    engine = start()
    rows = engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    os.killpg(process(engine), signal.SIGKILL)
    engine._server.held.server.program.process.wait()
    assert engine.generate(checkpoint, REQUESTS, SAMPLING, 0) == rows


def test_release_ends_the_server(start, checkpoint):
    """No process is left, so that the GPU's memory is free for training."""
    engine = start()
    engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    number = process(engine)
    engine.release()
    assert gone(number)


def test_an_engine_that_is_dropped_ends_its_server(tmp_path, checkpoint):
    """Without a call of release(), the server ends together with its engine."""
    environment = write_vllm(tmp_path, TINY.replace("FAULT", "pass"))
    engine = VllmEngine(sys.executable, environment=environment)
    engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    number = process(engine)
    del engine
    gc.collect()
    assert gone(number)


def test_a_server_ends_with_a_killed_run(tmp_path, checkpoint):
    """Nothing is left of it after a kill that no handler sees."""
    environment = write_vllm(tmp_path, TINY.replace("FAULT", "pass"))
    script = f"""
import os, signal, sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.servers.vllm import VllmEngine
from srlm_kedro.records import Checkpoint
engine = VllmEngine(sys.executable, environment={environment!r})
asked = [Request("a", "w1 w2 w3")]
model = Checkpoint(Path({str(checkpoint.path)!r}), "m1")
engine.generate(model, asked, Sampling(max_new_tokens=6), 0)
print(engine._server.held.server.program.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    number, patience = int(done.stdout), time.monotonic() + 60
    while not gone(number) and time.monotonic() < patience:
        time.sleep(0.05)
    assert gone(number)


def test_a_dying_server_leaves_its_last_lines(start, checkpoint):
    """The message holds the last lines of vLLM's output."""
    fault = "import os; print('CUDA error: the card is on fire', flush=True); os._exit(7)"
    with pytest.raises(GateError, match=r"(?s)no answer after .*the card is on fire"):
        start(fault, retries=0).generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_a_failure_of_vllm_is_told(start, checkpoint):
    """The message holds what vLLM raised, and the server is ended."""
    engine = start("raise RuntimeError('out of memory')", retries=0)
    with pytest.raises(GateError, match=r"status 500, RuntimeError: out of memory"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)
    assert engine._server.held is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("os._exit(7)", "no answer after"),
        ("time.sleep(600)", "no answer within 2 s"),
    ],
)
def test_a_server_that_fails_is_replaced(start, checkpoint, fault, told, caplog):
    """After a death or a hang, the completions are those of an undisturbed run."""
    drawn = start().generate(checkpoint, REQUESTS, SAMPLING, 0)
    again = start(ONCE.replace("BREAK", fault), timeout=2.0)
    assert again.generate(checkpoint, REQUESTS, SAMPLING, 0) == drawn
    assert told in caplog.text
    assert "a new server is started" in caplog.text


def test_a_call_that_fails_is_repeated(start, checkpoint, caplog):
    """One failure costs no server."""
    drawn = start().generate(checkpoint, REQUESTS, SAMPLING, 0)
    again = start(ONCE.replace("BREAK", "raise RuntimeError('out of memory')"))
    assert again.generate(checkpoint, REQUESTS, SAMPLING, 0) == drawn
    assert "a new server is started" not in caplog.text


def test_tries_have_an_end(start, checkpoint, caplog):
    """After two more servers the run stops with the last message."""
    fault = "import os; print('the card is on fire', flush=True); os._exit(7)"
    with pytest.raises(GateError, match="the card is on fire"):
        start(fault).generate(checkpoint, REQUESTS, SAMPLING, 0)
    assert caplog.text.count("a new server is started") == 2


def test_a_load_that_hangs_has_an_end(tmp_path, checkpoint):
    """The message says how long it was waited for, and no process is left."""
    environment = write_vllm(tmp_path, "import time; print('loading', flush=True); time.sleep(600)")
    engine = VllmEngine(sys.executable, environment=environment, patience=5.0)
    with pytest.raises(GateError, match=r"(?s)not loaded its model after 5 s.*loading"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_a_wrong_option_is_told(start, checkpoint):
    """The message says which option vLLM refused."""
    engine = start(serve_options={"tensors": 2})
    with pytest.raises(InputError, match=r"(?s)m1: .*ended with status 2.*--tensors 2"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_an_environment_without_vllm_is_told(checkpoint):
    """The message names the interpreter, before any work too."""
    engine = VllmEngine(sys.executable)
    with pytest.raises(InputError, match="no package vllm is installed there"):
        engine.refuse_unready()
    with pytest.raises(InputError, match=r"(?s)ended with status 1.*No module named 'vllm'"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_a_missing_interpreter_is_told(checkpoint, tmp_path):
    """The message names a mistyped path, before any work too."""
    engine = VllmEngine(str(tmp_path / "python"))
    with pytest.raises(InputError, match=r"python cannot be started: there is no such program"):
        engine.refuse_unready()
    with pytest.raises(InputError, match=r"python cannot be started: there is no such program"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, 0)


def test_a_folder_without_a_model_is_told(start, tmp_path):
    """The message names the model before vLLM is started."""
    with pytest.raises(InputError, match=r"m9: .*m9 cannot be read"):
        start().generate(Checkpoint(tmp_path / "m9", "m9"), REQUESTS, SAMPLING, 0)
