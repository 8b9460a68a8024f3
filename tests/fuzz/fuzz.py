"""Fuzzes one target for a while: `python -m tests.fuzz.fuzz score 60`.

With the package `atheris` new paths through the code guide it; without, seeds are mutated blindly.
A crash is written to `crash-<target>-<digest>` and given back as exit status 1.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

_LONGEST = 4096
_PIECES = [
    *(
        b"\x00",
        b"\n",
        b"\r",
        b" ",
        b'"',
        b"'",
        b",",
        b";",
        b":",
        b"[",
        b"]",
        b"{",
        b"}",
        b"<",
        b">",
    ),
    *(
        b"\xff",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
        b"\xef\xbb\xbf",
        b"\\ud800",
        b"\x1b[2J",
        b"\x1f\x8b",
    ),
    *(b"PAR1", b"null", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 400, b"true", b"\\u0000"),
    *(b"Score:", b"Total", b"[[", b"]]", b"Task 1:", b"</response>", b"</think>", b"4/5", b"%"),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the target; 0 where nothing crashed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--plain", action="store_true", help="no atheris, if there is one")
    parser.add_argument("--seed", type=int, default=0, help="of the plain mutations")
    given = parser.parse_args(arguments)
    try:
        import atheris
    except ImportError:
        atheris = None
    guided = atheris is not None and not given.plain
    if guided:
        with atheris.instrument_imports(include=["srlm_kedro"]):
            from tests.fuzz import targets
    else:
        from tests.fuzz import targets
    if given.target not in targets.TARGETS:
        parser.error(f"the targets are {', '.join(targets.TARGETS)}")
    target, seeds = targets.TARGETS[given.target], targets.SEEDS[given.target]
    if not guided:
        return mutate(given.target, target, seeds, given.seconds, random.Random(given.seed))
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{given.target}-"))
    for seed in seeds:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    limits = [f"-max_total_time={given.seconds:.0f}", f"-max_len={_LONGEST}"]
    atheris.Setup(
        [sys.argv[0], *limits, f"-artifact_prefix=crash-{given.target}-", str(corpus)], target
    )
    atheris.Fuzz()
    return 0


def mutate(
    name: str,
    target: Callable[[bytes], None],
    seeds: Sequence[bytes],
    seconds: float,
    chance: random.Random,
) -> int:
    """Feeds mutations of the seeds, and of what came of them, until the time is over."""
    pool, end, runs = list(seeds), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(chance.choice(pool), pool, chance)
        runs += 1
        began = time.monotonic()
        try:
            target(data)
        except Exception:
            traceback.print_exc()
            path = Path(f"crash-{name}-{hashlib.sha1(data).hexdigest()[:12]}")
            path.write_bytes(data)
            print(f"{name}: crash after {runs} runs, written to {path}")
            return 1
        if time.monotonic() - began > 5:
            print(f"{name}: {len(data)} bytes took {time.monotonic() - began:.1f} s: {data[:80]!r}")
        if chance.random() < 0.02:
            pool = [*pool[-200:], data]
    print(f"{name}: {runs} runs, no crash")
    return 0


def mutated(data: bytes, pool: Sequence[bytes], chance: random.Random) -> bytes:
    """A few changes: bytes flipped, pieces put in, parts taken out, doubled or from elsewhere."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place, other = chance.randint(0, len(made)), chance.randint(0, len(made))
        low, high = min(place, other), max(place, other)
        match chance.randrange(6):
            case 0 if made:
                made[place % len(made)] = chance.randrange(256)
            case 1:
                made[place:place] = chance.choice(_PIECES) * chance.choice((1, 1, 1, 40))
            case 2:
                del made[low:high]
            case 3:
                made[place:place] = made[low:high]
            case 4:
                made[low:high] = chance.choice(pool)[: chance.randint(0, 200)]
            case 5:
                made[place:place] = bytes(chance.randrange(256) for _ in range(4))
    return bytes(made[:_LONGEST])


if __name__ == "__main__":
    sys.exit(main())
