"""What hops made is judged here, and beside the next hop where there is room for both."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from convkit.engine.locate import locate
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.engine.verify import run_original, verify
from convkit.verification import Verification

T = TypeVar("T")
Judged = tuple[Verification | None, Verification | None]
"""Against the original, and against the predecessor where that was asked; None, None where nothing
is verified."""

COPIES = 8
"""A model under conversion and one that runs take so many sizes of its file in memory at most."""
SPARE_BYTES = 2 << 30
"""What frameworks take on their own."""


class Judge:
    """Holds results against the original model."""

    def __init__(self, session: Session, reference: Found, samples: Samples | None) -> None:
        """
        Args:
            reference: the original.
            samples: what both run on; None leaves verification out.
        """
        self._session, self._reference, self._samples = session, reference, samples

    def judge(self, found: Found, previous: Found, stage: Stage) -> Judged:
        """Judge now.

        Args:
            previous: what the result was made from.
        """
        if self._samples is None:
            return None, None
        stage.progress("verifying against the original", None)
        judged = self._verdicts(self._session, self._samples, found, previous, stage)
        return self._located(self._samples, judged, found, previous, stage)

    def prepare(self, format_id: str) -> None:
        """A result in this format will be judged beside something else: let its runtime be loaded
        while it is made."""
        runner = self._session.runner(format_id)
        if self._samples is None or runner is None or _processors() < 2:
            return
        session, name = self._beside(), runner.name
        _Thread(lambda: session.ask("prepare", "runners", name, {}))

    def beside(self, found: Found, previous: Found) -> Callable[[Stage], Judged] | None:
        """Begin to judge in another thread, with a worker of its own.

        Returns:
            What waits for the verdict; None where it is better to judge before anything else is
            done: nothing is verified, or there is no room for another process.
        """
        samples = self._samples
        if samples is None or not self._room(found):
            return None
        # the main worker has the original's framework loaded
        run_original(self._session, self._reference.artifact, found.artifact, samples)
        session = self._beside()
        work = _Thread(lambda: self._verdicts(session, samples, found, previous, None))

        def wait(stage: Stage) -> Judged:
            stage.progress("verifying against the original", None)
            return self._located(samples, work.result(), found, previous, stage)

        return wait

    def _beside(self) -> Session:
        return dataclasses.replace(self._session, workers=self._session.workers.apart())

    def _room(self, found: Found) -> bool:
        import psutil

        wanted = SPARE_BYTES + COPIES * found.artifact.size_bytes
        free = psutil.virtual_memory().available
        return _processors() >= 2 and free > wanted and not self._session.workers.limits.megabytes

    def _verdicts(
        self,
        session: Session,
        samples: Samples,
        found: Found,
        previous: Found,
        stage: Stage | None,
    ) -> tuple[Verification, Verification | None]:
        reference = self._reference
        verdict = verify(
            session, reference.artifact, found.artifact, samples, against="original", stage=stage
        )
        half = reference.state.precision == "fp16" != previous.state.precision
        if previous is reference or not (half or verdict.verdict in ("wrong", "degraded")):
            return verdict, None
        culprit = verify(
            session,
            previous.artifact,
            found.artifact,
            samples,
            against=str(previous.state),
            stage=stage,
        )
        if half and culprit.verdict == "wrong" != verdict.verdict:
            # beside an original in half precision it would pass; its predecessor is sharper
            verdict = dataclasses.replace(verdict, verdict="wrong", problems=culprit.problems)
        return verdict, culprit

    def _located(
        self, samples: Samples, judged: Judged, found: Found, previous: Found, stage: Stage
    ) -> Judged:
        verdict, culprit = judged
        if verdict is None:
            return judged
        reference = self._reference
        references = (reference,) if previous is reference else (reference, previous)
        place = locate(self._session, references, found, samples, verdict.verdict, stage)
        return dataclasses.replace(verdict, divergence=place), culprit


class _Thread(Generic[T]):
    """Work in a thread that no exit of the program waits for."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait.

        Raises:
            BaseException: what the work raised.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # raised where it is waited for
            self._error = error


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
