"""What a hop made, held against the original and, where that is in doubt, its predecessor."""

from __future__ import annotations

import dataclasses

from convkit.engine.locate import locate
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.engine.verify import verify
from convkit.verification import Verification

Judged = tuple[Verification | None, Verification | None]
"""Against the original, and against the predecessor where that was asked; None, None where nothing
is verified."""


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
        """Judge a result.

        Args:
            previous: what it was made from.
        """
        session, reference, samples = self._session, self._reference, self._samples
        if samples is None:
            return None, None
        stage.progress("verifying against the original", None)
        verdict = verify(
            session, reference.artifact, found.artifact, samples, against="original", stage=stage
        )
        culprit = None
        behind = previous is not reference
        half = reference.state.precision == "fp16" != previous.state.precision
        if behind and (half or verdict.verdict in ("wrong", "degraded")):
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
        references = (reference, previous) if behind else (reference,)
        place = locate(session, references, found, samples, verdict.verdict, stage)
        return dataclasses.replace(verdict, divergence=place), culprit
