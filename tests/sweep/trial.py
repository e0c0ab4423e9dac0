"""One case through one edge, by convkit and by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, ReadOptions, State
from convkit.calibration import CARRIED, CalibrationData, carried, sample_key
from convkit.codec import encode
from convkit.engine.digest import digest_file
from convkit.engine.executor import Executor
from convkit.engine.outcomes import Outcome
from convkit.engine.planner import Banned, Planner, Wishes
from convkit.engine.sample_files import load_outputs
from convkit.engine.session import Found, Samples, Session, Settings
from convkit.engine.sources import load
from convkit.engine.verify import outputs_of
from convkit.engine.worker import Limits
from convkit.errors import ConvkitError, NumericError
from convkit.kit import Kit
from convkit.plans import Plan
from tests.sweep.cases import Case, agrees

SECONDS = 120.0
BARE = "tests.sweep.bare"
SILENT = "ok"
"""The verdict of convkit's verification that raises no doubt."""


@dataclass(frozen=True)
class Edge:
    """An edge under trial.

    Attributes:
        converter: convkit's name of it.
        bare: the same tool by hand.
        target: where the edge leads.
        over: what has to be reached first, for edges that do not start at ONNX.
        by: the converters that lead there.
        turned: by hand, the tool may leave an output with its channels last and not say so.
    """

    converter: str
    bare: str
    target: State
    over: State | None = None
    by: tuple[str, ...] = ()
    turned: bool = False


EDGES = {
    "openvino": Edge("openvino.from-onnx", "bare.openvino", State("openvino")),
    "onnx2torch": Edge("onnx2torch.torch", "bare.onnx2torch", State("torch")),
    "onnx2fx": Edge("onnx2fx.torch", "bare.onnx2fx", State("torch")),
    "onnx-tf": Edge("onnx-tf.saved", "bare.onnx-tf", State("tf-saved")),
    "onnx2tf": Edge("onnx2tf.saved", "bare.onnx2tf-saved", State("tf-saved"), turned=True),
    "onnx2tf-tflite": Edge("onnx2tf.tflite", "bare.onnx2tf-tflite", State("tflite"), turned=True),
    "tflite-back": Edge(
        "tf2onnx.from-tflite", "bare.tf2onnx", State("onnx"), State("tflite"), ("onnx2tf.tflite",)
    ),
}


@dataclass(frozen=True)
class Verdict:
    """How a case ended.

    Attributes:
        outcome: `correct`, `refused` or `wrong`; `unreached` where an edge further on was never
            got to.
        reason: in words, where it is not correct.
        verdict: of convkit's verification, where a result was handed out.
    """

    outcome: str
    reason: str = ""
    seconds: float = 0.0
    verdict: str = ""


class Bench:
    """An open session in which cases are tried; its workers live on between them."""

    def __init__(self, session: Session, planner: Planner) -> None:
        self._session, self._planner = session, planner
        self._refused: dict[str, ConvkitError] = {}

    def ours(self, case: Case, edge: Edge, folder: Path) -> Verdict:
        """By convkit: planned, checked, verified."""
        start = time.perf_counter()
        try:
            samples = self._samples(case, folder)
            found = load(self._session, case.write(folder), "onnx", ReadOptions())
        except ConvkitError as error:
            return _refused(error, start)
        before = SILENT
        if edge.over is not None:
            try:
                found, before = self._reach(found, edge, samples)
            except ConvkitError as error:
                return Verdict("unreached", _words(error), time.perf_counter() - start)
        try:
            outcome = self._there(found, edge, samples)
        except ConvkitError as error:
            return _refused(error, start)
        # whoever goes on from a result that is in doubt was told so on the way
        said = before if before != SILENT else _said(outcome)
        try:
            path = outputs_of(self._session, outcome.final.artifact, samples)
        except ConvkitError as error:
            return replace(_refused(error, start), outcome="wrong", verdict=said)
        assert path is not None
        return replace(_judge(case, load_outputs(path, 1), start), verdict=said)

    def _there(self, found: Found, edge: Edge, samples: Samples) -> Outcome:
        """Through the edge. A model of half precision or of integers goes to the same precision
        first; what is refused there, to float32, as its user would ask for next."""
        refusals: list[ConvkitError] = []
        precisions = (found.state.precision, edge.target.precision)
        for target in dict.fromkeys(State(edge.target.format, p) for p in precisions):
            converters = [
                e.name
                for e in self._session.registry.converters.values()
                if e.name.startswith(edge.converter) and e.target == target
            ]
            if not converters:
                continue
            try:
                return self._outcome(found, target, tuple(converters[:1]), samples)
            except ConvkitError as error:
                refusals.append(error)
        raise refusals[-1]

    def by_hand(self, case: Case, edge: Edge, folder: Path) -> Verdict:
        """By the tool alone."""
        import numpy as np

        start = time.perf_counter()
        output = folder / "outputs.npz"
        output.unlink(missing_ok=True)
        try:
            samples = self._samples(case, folder)
            source = self._unread(case, folder)
            if edge.over is not None:
                found = load(self._session, case.write(folder), "onnx", ReadOptions())
                source = self._reach(found, edge, samples)[0].artifact
            inputs = folder / "inputs.npz"
            np.savez(inputs, **{str(n): _bytes(x) for n, x in enumerate(case.sets[0][0])})
            self._ask(edge, source, inputs, output)
        except ConvkitError as error:
            return _refused(error, start)
        with np.load(output) as arrays:
            found_outputs = [[arrays[str(n)]] for n in range(len(arrays))]
        return _judge(case, found_outputs, start, edge.turned)

    def _reach(self, found: Found, edge: Edge, samples: Samples) -> tuple[Found, str]:
        """Where the edge starts, and what the verification said of that. What could not be reached
        is not tried again: the store keeps successes only."""
        assert edge.over is not None
        key = found.artifact.digest + samples.digest
        if key in self._refused:
            raise self._refused[key]
        try:
            outcome = self._outcome(found, edge.over, edge.by, samples)
            return outcome.final, _said(outcome)
        except ConvkitError as error:
            self._refused[key] = error
            raise

    def _outcome(
        self, found: Found, target: State, converters: tuple[str, ...], samples: Samples
    ) -> Outcome:
        def replan(wanted: State, banned: Banned) -> Plan:
            wishes = Wishes(converters=converters)
            traits = found.artifact.traits
            return self._planner.plan(
                found.state, wanted, traits=traits, wishes=wishes, banned=banned
            )

        executor = Executor(self._session, found, samples, None, replan)
        return executor.reach(target)

    def _samples(self, case: Case, folder: Path) -> Samples:
        from safetensors.numpy import save_file

        inputs = case.sets[0][0]
        if any(x is None for x in (*inputs, *case.sets[0][1])):
            raise ConvkitError("takes or gives what is no numeric tensor")
        path = folder / "inputs.safetensors"
        try:
            save_file({sample_key(0, n): _whole(x) for n, x in enumerate(inputs)}, path)
        except (KeyError, TypeError, ValueError) as error:
            raise ConvkitError(f"inputs of a type that samples cannot carry: {error}") from error
        return Samples(path, digest_file(path), 1, synthetic=False)

    def _unread(self, case: Case, folder: Path) -> Artifact:
        return Artifact(case.write(folder), State("onnx"))

    def _ask(self, edge: Edge, source: Artifact, inputs: Path, output: Path) -> None:
        with self._session.store.scratch() as workdir:
            data = CalibrationData(inputs, 1, "", "case")
            arguments = {
                "artifact": encode(source),
                "output": str(output),
                "options": {},
                "workdir": str(workdir),
                "calibration": encode(data),
                "recipe": None,
                "seed": 0,
                "threads": 0,
            }
            isolated = self._session.registry.converters[edge.converter].isolated
            self._session.ask("convert", "converters", edge.bare, arguments, isolated=isolated)


@contextmanager
def bench(cache: Path) -> Iterator[Bench]:
    """Open a bench on a store of its own."""
    kit = Kit((BARE,), cache)
    with kit.session(settings=Settings(verify_samples=1), limits=Limits(SECONDS)) as session:
        yield Bench(session, kit.planner())


def _said(outcome: Outcome) -> str:
    """The verdict on a result."""
    judged = outcome.hops[-1].verification
    assert judged is not None
    return judged.verdict


def _whole(value: Any) -> Any:
    import numpy as np

    return carried(np.ascontiguousarray(value) if value.ndim else value.copy())


def _bytes(value: Any) -> Any:
    """What numpy alone does not know, as so many bytes: old environments know no more."""
    return value.view(f"V{value.itemsize}") if str(value.dtype) not in CARRIED else value


def _judge(
    case: Case, outputs: Sequence[Sequence[Any]], start: float, turned: bool = False
) -> Verdict:
    fault = agrees(case, [o[0] for o in outputs], case.sets[0][1], turned)
    return Verdict("wrong" if fault else "correct", fault, time.perf_counter() - start)


def _refused(error: ConvkitError, start: float) -> Verdict:
    return Verdict("refused", _words(error), time.perf_counter() - start)


def _words(error: ConvkitError) -> str:
    words = f"{type(error).__name__}: {error.message}"
    if not isinstance(error, NumericError):  # the story of what was tried stands in the hint
        words += f" {error.hint}"
    return " ".join(words.split())[:300]
