"""Kills a process of many at random instants, in a thread beside what is tortured."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def killing(
    victims: Callable[[], Sequence[int]], chance: random.Random, longest: float, wanted: int
) -> Iterator[list[int]]:
    """Kills one of the victims after a random while, again and again; gives what was killed.

    Args:
        victims: The processes of which one may be killed now.
        chance: Of the victim and of the instant.
        longest: Seconds between two kills at most.
        wanted: The most kills.
    """
    killed: list[int] = []

    def kill(over: threading.Event) -> None:
        while len(killed) < wanted and not over.wait(chance.random() * longest):
            if living := victims():
                number = chance.choice(sorted(living))
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
                    killed.append(number)

    with beside(kill):
        yield killed


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `work` in a thread meanwhile; it is given an event that says that all is over."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def running(is_one: Callable[[bytes], bool]) -> list[int]:
    """The processes of this machine whose command line, as /proc has it, is one of those."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if is_one(file.read_bytes()):
                found.append(int(file.parent.name))
    return found


def children(number: int) -> list[int]:
    """The processes that a process has started, its threads included."""
    found = []
    for file in Path(f"/proc/{number}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, file.read_text().split())
    return found


def gone(numbers: Sequence[int], patience: float = 5.0) -> bool:
    """Whether none of the processes is left, soon."""
    end = time.monotonic() + patience
    while left := [one for one in numbers if Path(f"/proc/{one}").exists()]:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return not left
