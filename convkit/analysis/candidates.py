"""A model in a process of its own, ready to be timed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from convkit.analysis.statistics import Turn
from convkit.codec import encode
from convkit.engine.digest import digest_key
from convkit.engine.machine import install_command, unmet_requirement
from convkit.engine.session import Found, Samples, Session
from convkit.engine.worker import Worker
from convkit.errors import ConversionError, NoPathError
from convkit.plugin.runtimes import Runner

TURN_SECONDS = 0.02
"""About how long the timed part of a turn is; several inferences, so that one that was interrupted
does not speak for the turn."""
MOST_REPEATS = 64
SETTLE_SECONDS = 0.004
FLOW_LEAD = 0.02
"""Streams start together, so many seconds after they were asked to."""


@dataclass
class Candidate:
    """A model under measurement.

    Attributes:
        workers: one process per stream; the first one has the turns.
        finite: whether its outputs on the first sample are.
        typical: seconds of one inference that waited for nothing.
        turns: all candidates have as many.
        idle: shares of a processor that it kept busy between its turns.
        flows: number of streams to what each round found, in inferences per second.
    """

    session: Session
    title: str
    found: Found
    runner: Runner
    samples: Samples
    threads: int
    cores: tuple[int, ...]
    workers: list[Worker] = field(default_factory=list)
    load_seconds: float = 0.0
    first_seconds: float = 0.0
    pinned: bool = False
    finite: bool = True
    typical: float = 0.0
    turns: list[Turn] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    flows: dict[int, list[float]] = field(default_factory=dict)

    @property
    def repeats(self) -> int:
        """Inferences in one turn."""
        return max(1, min(MOST_REPEATS, round(TURN_SECONDS / max(self.typical, 1e-9))))

    def open(self) -> None:
        """Start a process, open the model and run it once.

        Raises:
            ConvkitError: it cannot be opened or run; the process is gone.
        """
        modules = _modules(self)
        worker = self.session.workers.dedicated()
        try:
            answer = self._ask(worker, "time_open", {**self._model(), "modules": modules})
        except BaseException:
            self.session.workers.dismiss(worker)
            raise
        if not self.workers:
            self.load_seconds, self.first_seconds = answer["load"], answer["first"]
            self.pinned, self.finite = answer["pinned"], answer["finite"]
        self.workers.append(worker)

    def warm(self, seconds: float) -> None:
        """Run until times are steady, for so long at most."""
        self.typical = self._ask(self.workers[0], "time_warm", {"seconds": seconds})

    def turn(self, sample: int) -> None:
        """Have a turn of one round."""
        arguments = {"sample": sample, "repeats": self.repeats, "settle": SETTLE_SECONDS}
        answer = self._ask(self.workers[0], "time_turn", arguments)
        self.turns.append(Turn(tuple(answer["times"]), tuple(answer["waited"])))
        if answer["idle"] is not None:
            self.idle.append(answer["idle"])

    def flow(self, streams: int, seconds: float) -> None:
        """Run several streams side by side for some time."""
        begin = time.monotonic() + FLOW_LEAD
        arguments = {"begin": begin, "seconds": seconds}

        def run(worker: Worker) -> float:
            answer = self._ask(worker, "time_flow", arguments)
            return float(answer["count"] / answer["seconds"])

        with ThreadPoolExecutor(streams) as pool:
            self.flows.setdefault(streams, []).append(sum(pool.map(run, self.workers[:streams])))

    def memory(self) -> int | None:
        """The most memory that the first process took; see `convkit.engine.timing.memory`."""
        answer = self._ask(self.workers[0], "time_memory", {})
        return None if answer is None else int(answer)

    def close(self) -> None:
        """End its processes."""
        for worker in self.workers:
            self.session.workers.dismiss(worker)
        self.workers.clear()

    def _model(self) -> dict[str, Any]:
        return {
            "artifact": encode(self.found.artifact),
            "inputs": str(self.samples.path),
            "limit": self.samples.count,
            "threads": self.threads,
            "cores": list(self.cores),
        }

    def _ask(self, worker: Worker, op: str, arguments: dict[str, Any]) -> Any:
        return self.session.ask(op, "runners", self.runner.name, arguments, worker=worker)


def runner_of(session: Session, found: Found) -> Runner:
    """The runner that executes a model.

    Raises:
        NoPathError: there is none, or its runtime is not installed; the hint cures it.
    """
    form = found.state.format
    runner = session.runner(form)
    if runner is not None:
        return runner
    known = session.registry.runners_of(form)
    if not known:
        raise NoPathError(f"no installed plugin executes {form} files")
    fault = unmet_requirement(known[0].requirements, session.environment)
    raise NoPathError(
        f"{known[0].name} cannot be used: {fault}", hint=install_command(known[0].requirements)
    )


@contextmanager
def closing(candidates: Sequence[Candidate]) -> Iterator[None]:
    """End the candidates' processes, whatever happens."""
    try:
        yield
    finally:
        for candidate in candidates:
            candidate.close()


def _modules(candidate: Candidate) -> list[str]:
    """What the candidate's runner imports, found once for each version of it by opening a model in
    a process that is thrown away."""
    session, runner = candidate.session, candidate.runner
    key = digest_key(
        {
            "kind": "runner-modules",
            "runner": session.implementation_key("runners", runner.name, runner.requirements),
            "python": session.environment.python,
        }
    )
    known = session.store.read(key)
    if known is None:
        worker = session.workers.dedicated()
        try:
            known = candidate._ask(worker, "time_imports", candidate._model())
        finally:
            session.workers.dismiss(worker)
        session.store.remember(key, known)
    if not isinstance(known, list):
        raise ConversionError(f"{runner.name} does not say what it imports")
    return known
