"""The clock of a benchmark, inside the worker that holds one opened model.

Nothing but `session.run` lies between two looks at the clock: samples are converted beforehand, and
Python's garbage collector is off meanwhile. What is opened is the worker's own state.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from convkit.artifact import Artifact
from convkit.codec import decode
from convkit.errors import ConversionError

FEWEST_WARM = 3
"""Inferences of a warm-up at least: some runtimes compile in the second one."""
WINDOW_SECONDS = 0.05
STEADY = 0.05
"""Two neighbouring windows whose fastest inferences differ by less count as steady."""
SETTLED = 0.25
"""An inference that takes longer, in seconds, does not notice that its caches have to refill."""
WAITING = "/proc/thread-self/schedstat"
"""Nanoseconds that the thread ran, that it waited for a processor, and how often it got one."""
RESET_PEAK = "5"
"""What `clear_refs` of proc(5) takes to forget the highest resident size so far."""

Prepare = Callable[[], list[list[Any]]]


@dataclass
class Timed:
    """An opened model with its samples.

    Attributes:
        resident: bytes of the process before the model was opened, None where unknown.
        left: wall clock and processor time of this process at the end of its last turn.
    """

    session: Any
    samples: Sequence[Sequence[Any]]
    resident: int | None
    left: tuple[float, float] | None = field(default=None)


_opened: list[Timed] = []


def imports(runner: Any, prepare: Prepare, arguments: Mapping[str, Any]) -> list[str]:
    """Modules that opening and running a model brings in, in the order in which they came.

    A model that is to be measured is opened where they are loaded already: importing is neither
    load time nor the model's memory.
    """
    samples = prepare()
    before = set(sys.modules)
    session = runner.open(decode(Artifact, arguments["artifact"]), arguments["threads"])
    session.run(samples[0])
    return [name for name in sys.modules if name not in before]


def open_model(runner: Any, prepare: Prepare, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Pin this process, import, open the model and run it once.

    Returns:
        what `load` and `first` took in seconds, whether the process is `pinned`, and whether all
        outputs are `finite`.

    Raises:
        ConversionError: the model gives other than its outputs.
    """
    pinned = _pin(arguments["cores"])
    _import(arguments["modules"])
    samples = prepare()
    gc.collect()
    resident = _forget_peak()
    artifact = decode(Artifact, arguments["artifact"])
    start = time.perf_counter()
    session = runner.open(artifact, arguments["threads"])
    opened = time.perf_counter()
    outputs = session.run(samples[0])
    ran = time.perf_counter()
    if len(outputs) != len(artifact.outputs):
        raise ConversionError(
            f"the model gives {len(outputs)} outputs, {len(artifact.outputs)} are expected"
        )
    finite = all(map(_finite, outputs))
    del outputs
    _opened[:] = [Timed(session, samples, resident)]
    gc.collect()
    gc.freeze()  # what frameworks keep for ever is not looked through before every turn
    took = {"load": opened - start, "first": ran - opened}
    return {**took, "pinned": pinned, "finite": finite}


def warm(seconds: float) -> float:
    """Run until the times are steady, or for so many seconds; answers the time of an inference that
    waited for nothing."""
    (timed,) = _opened
    end = time.perf_counter() + seconds
    before = 0.0
    while True:
        own: list[float] = []
        while len(own) < FEWEST_WARM or sum(own) < WINDOW_SECONDS:
            ((took,), (waited,)) = _times(timed, 0, 1)
            own.append(max(took - waited, 1e-9))
        fastest = min(own)
        if abs(fastest - before) <= STEADY * fastest or time.perf_counter() > end:
            return fastest
        before = fastest


def turn(sample: int, repeats: int, settle: float) -> dict[str, Any]:
    """Time some inferences of one sample.

    Args:
        settle: run untimed for so many seconds first, once at least: the caches of the processor
            refill, and threads of the model whose turn was before go to sleep.

    Returns:
        `times`; as `waited`, for each of them, the part of it in which the calling thread could
        have run but the system's other work had the processor; and as `idle` what share of the
        time since its last turn this process kept a processor busy, None in the first turn.
    """
    (timed,) = _opened
    idle = _idle_share(timed)
    gc.collect()
    end = time.perf_counter() + settle
    while settle:
        ((took,), _) = _times(timed, sample, 1)
        if time.perf_counter() >= end or took > SETTLED:
            break
    times, waited = _times(timed, sample, repeats)
    timed.left = time.perf_counter(), time.process_time()
    return {"times": times, "waited": waited, "idle": idle}


def flow(begin: float, seconds: float) -> dict[str, Any]:
    """Run without a break.

    Args:
        begin: when to start, by `time.monotonic`, which all processes of a machine share; streams
            start together.

    Returns:
        `count` of inferences, and the seconds that they took.
    """
    (timed,) = _opened
    _times(timed, 0, 1)
    time.sleep(max(0.0, begin - time.monotonic()))
    count, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        timed.session.run(timed.samples[count % len(timed.samples)])
        count += 1
    timed.left = None
    return {"count": count, "seconds": took}


def memory() -> int | None:
    """The most that this process held in memory since just before the model was opened, above what
    it held then; None where the platform does not tell."""
    (timed,) = _opened
    peak = _status("VmHWM")
    return None if peak is None or timed.resident is None else max(0, peak - timed.resident)


def _times(timed: Timed, sample: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of each inference, and how many of them it waited for a processor."""
    inputs, run, clock = timed.samples[sample % len(timed.samples)], timed.session.run, _clock
    times, waited = [], []
    gc.disable()
    try:
        with _waiting() as waiting:
            for _ in range(repeats):
                before = waiting()
                start = clock()
                run(inputs)
                times.append((clock() - start) * 1e-9)
                waited.append((waiting() - before) * 1e-9)
    finally:
        gc.enable()
    return times, waited


@contextmanager
def _waiting() -> Iterator[Callable[[], int]]:
    """Tells how many nanoseconds this thread has waited for a processor so far; always 0 where the
    platform does not say. A pair of looks takes some microseconds and is not timed."""
    try:
        file = os.open(WAITING, os.O_RDONLY)
    except OSError:  # not Linux
        yield lambda: 0
        return
    try:
        yield lambda: int(os.pread(file, 128, 0).split()[1])
    finally:
        os.close(file)


_clock = time.perf_counter_ns


def _finite(array: Any) -> bool:
    import numpy as np

    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _idle_share(timed: Timed) -> float | None:
    if timed.left is None:
        return None
    wall, busy = timed.left
    passed = time.perf_counter() - wall
    return (time.process_time() - busy) / passed if passed > 0 else None


def _pin(cores: Iterable[int]) -> bool:
    """Keep this thread, and all threads that it is going to start, on the given cores."""
    wanted = set(cores)
    if not wanted or not hasattr(os, "sched_setaffinity"):
        return False
    try:
        os.sched_setaffinity(0, wanted)
    except OSError:  # a container may forbid it
        return False
    return True


def _import(modules: Iterable[str]) -> None:
    for name in modules:
        with suppress(Exception):  # made while another was imported, not importable by name
            import_module(name)


def _forget_peak() -> int | None:
    """Resident bytes now, with the highest ones so far forgotten."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write(RESET_PEAK)
    except OSError:  # not Linux, or not allowed
        return None
    return _status("VmRSS")


def _status(name: str) -> int | None:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
