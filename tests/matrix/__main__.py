"""Every model from every format to every other one, in float32, by the best path convkit finds.

    python -m tests.matrix run [--models lstm,yolov8n] [--minutes M] [--cache DIR]
    python -m tests.matrix table [--write]     # the page; --write puts it into the documentation

A row starts from what convkit made of the model in that format, and is verified against it, so
that it holds alone. Results are appended to build/matrix/results.jsonl; what is there is not
run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.artifact import ReadOptions, State
from convkit.engine.executor import Executor
from convkit.engine.outcomes import Outcome
from convkit.engine.planner import Banned, Planner, Wishes
from convkit.engine.precheck import screened
from convkit.engine.random_samples import random_samples
from convkit.engine.session import Found, Session
from convkit.engine.sources import load
from convkit.engine.worker import Limits
from convkit.errors import ConvkitError
from convkit.kit import Kit
from convkit.plans import Plan
from tests.matrix import table
from tests.matrix.models import IMAGE, MODELS
from tests.support.results import read

RESULTS = Path("build/matrix/results.jsonl")
FORMATS = ("torch", "onnx", "openvino", "tf-saved", "tf-frozen", "tflite")
SECONDS = 900.0


@dataclass
class Matrix:
    """One session in which all cells are run."""

    session: Session
    planner: Planner

    def cells(self, name: str, folder: Path, done: set[tuple[str, str, str]]) -> Iterator[Any]:
        """The cells of a model that have not been run: the torch row first, since the others
        start from what it makes."""
        start = self._start(name, folder)
        sources: dict[str, Found] = {"torch": start}
        for source in FORMATS:
            for target in FORMATS:
                if source == target:
                    continue
                if (name, source, target) in done and source != "torch":
                    continue
                if source not in sources:
                    reason = f"{source} was not reached from torch"
                    yield cell(name, source, target, {"reason": reason})
                    continue
                found, outcome = self._run(sources[source], target)
                if source == "torch" and outcome is not None:
                    final = outcome.final.artifact
                    sources[target] = load(self.session, final.path, target, ReadOptions())
                if (name, source, target) not in done:
                    yield cell(name, source, target, found)

    def _start(self, name: str, folder: Path) -> Found:
        path = MODELS[name](folder)
        if path.suffix != ".yaml":
            return load(self.session, path, "torch", ReadOptions())
        read = ReadOptions(shapes={"images": (1, 3, IMAGE, IMAGE)})
        written = load(self.session, path, "ultralytics", read)
        torch = self._reach(written, "torch").final.artifact
        return load(self.session, torch.path, "torch", ReadOptions())

    def _run(self, found: Found, target: str) -> tuple[dict[str, Any], Outcome | None]:
        start = time.perf_counter()
        try:
            outcome = self._reach(found, target)
        except ConvkitError as error:
            words = " ".join(f"{error.message}; {error.hint}".split())
            return {"reason": words[:400], "seconds": time.perf_counter() - start}, None
        judged = outcome.hops[-1].verification
        assert judged is not None
        return {
            "verdict": judged.verdict,
            "sqnr_db": None if judged.sqnr_db == float("inf") else judged.sqnr_db,
            "seconds": sum(h.result.seconds for h in outcome.hops),
            "size_bytes": outcome.final.artifact.size_bytes,
            "path": [h.step.converter for h in outcome.hops],
            "failed": [f"{f.converter}: {f.message}"[:300] for f in outcome.failed],
        }, outcome

    def _reach(self, found: Found, target: str) -> Outcome:
        def replan(wanted: State, banned: Banned) -> Plan:
            def make(out: Banned) -> Plan:
                return self.planner.plan(
                    found.state,
                    wanted,
                    traits=found.artifact.traits,
                    wishes=Wishes(),
                    banned=out,
                )

            return screened(self.session, make, found.artifact, banned)

        samples = random_samples(self.session, found.artifact)
        return Executor(self.session, found, samples, None, replan).reach(State(target))


def cell(model: str, source: str, target: str, found: dict[str, Any]) -> dict[str, Any]:
    """A line of the results."""
    return {"model": model, "source": source, "target": target, **found}


def run(arguments: argparse.Namespace) -> None:
    """Run what has not been run."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["model"], r["source"], r["target"]) for r in read(RESULTS)}
    deadline = time.monotonic() + arguments.minutes * 60
    kit = Kit(cache=arguments.cache)
    with (
        kit.session(limits=Limits(SECONDS)) as session,
        RESULTS.open("a") as out,
        tempfile.TemporaryDirectory() as folder,
    ):
        matrix = Matrix(session, kit.planner())
        for name in arguments.models.split(","):
            for line in matrix.cells(name, Path(folder), done):
                out.write(json.dumps(line) + "\n")
                out.flush()
                told = line.get("verdict") or line["reason"][:80]
                print(f"{name} {line['source']} -> {line['target']}: {told}", file=sys.stderr)
                if time.monotonic() > deadline:
                    print("time is up", file=sys.stderr)
                    return


def main() -> None:
    """Parse the command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=about)
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("run", help="run the cells")
    make.add_argument("--models", default=",".join(MODELS))
    make.add_argument("--minutes", type=float, default=1e6, help="stop after so long")
    make.add_argument("--cache", type=Path, help="a store with the environments built")
    make.set_defaults(do=run)
    show = commands.add_parser("table", help="print the page")
    show.add_argument("--write", action="store_true", help="and put it into the documentation")
    show.set_defaults(do=lambda a: table.show(RESULTS, write=a.write))
    arguments = parser.parse_args()
    arguments.do(arguments)


main()
