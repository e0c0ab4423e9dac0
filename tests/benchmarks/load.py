"""A machine that does other work: processes that compute in bursts of random length."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BURSTS = """
import os, random, sys, time
random.seed(int(sys.argv[1]))
parent = os.getppid()
numbers = list(range(50_000))
while os.getppid() == parent:
    end = time.perf_counter() + random.uniform(0.002, 0.3)
    while time.perf_counter() < end:
        sum(x * x for x in numbers[:2000])
        numbers[:] = numbers[1000:] + numbers[:1000]
    time.sleep(random.uniform(0.002, 0.3))
"""
"""Half of the time busy, from a few milliseconds to a third of a second at once."""


@contextmanager
def background_load(processes: int | None = None) -> Iterator[int]:
    """Keep the machine busy; gives the number of processes, two per core by default, which is one
    runnable process per core on average."""
    count = processes or 2 * (os.cpu_count() or 1)
    started = [
        subprocess.Popen([sys.executable, "-c", BURSTS, str(number)]) for number in range(count)
    ]
    try:
        yield count
    finally:
        for process in started:
            process.kill()
            process.wait()
