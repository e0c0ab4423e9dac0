"""Every test model of the onnx package through every edge out of ONNX, and back out of TFLite.

    python -m tests.sweep run [--edges openvino,onnx2torch] [--every N] [--shard I/N] [--minutes M]
    python -m tests.sweep run --again         # what was wrong or lost, after a change of the code
    python -m tests.sweep run --by-hand FILE  # what the bare tools did, as an earlier sweep saw it
    python -m tests.sweep table [--write]     # the counts; --write puts them into the documentation

Results are appended to build/sweep/results.jsonl, one line a trial; what is there is not tried
again, so a sweep may be stopped and resumed, and shards may run side by side. A full sweep over
all edges takes hours.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.sweep import table
from tests.sweep.cases import KINDS, cases
from tests.sweep.trial import EDGES, bench

RESULTS = Path("build/sweep/results.jsonl")


def run(arguments: argparse.Namespace) -> None:
    """Try what has not been tried."""
    index, _, count = arguments.shard.partition("/")
    edges = {name: EDGES[name] for name in arguments.edges.split(",")}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    results = table.latest(RESULTS)
    done = {
        (r["edge"], r["case"])
        for r in results
        if not (arguments.again and (table.is_wrong(r) or table.is_lost(r)))
    }
    known = _by_hand(arguments.by_hand)
    deadline = time.monotonic() + arguments.minutes * 60
    chosen = list(cases(arguments.kinds.split(",")))[:: arguments.every]
    chosen = chosen[int(index) :: int(count)]
    with bench(arguments.cache) as trials, RESULTS.open("a") as out:
        for number, case in enumerate(chosen):
            for name, edge in edges.items():
                if (name, case.name) in done:
                    continue
                if time.monotonic() > deadline:
                    print(f"time is up after {number} of {len(chosen)} cases", file=sys.stderr)
                    return
                with tempfile.TemporaryDirectory() as folder:
                    ours = trials.ours(case, edge, Path(folder))
                    bare = known.get((name, case.name)) or asdict(
                        trials.by_hand(case, edge, Path(folder))
                    )
                line = {
                    "edge": name,
                    "case": case.name,
                    "kind": case.kind,
                    "ours": asdict(ours),
                    "bare": bare,
                }
                out.write(json.dumps(line) + "\n")
                out.flush()
                print(
                    f"{number + 1}/{len(chosen)} {name} {case.name}: {ours.outcome}, "
                    f"by hand {bare['outcome']}",
                    file=sys.stderr,
                )


def _by_hand(path: Path | None) -> dict[tuple[str, str], dict[str, Any]]:
    """What the bare tools did in an earlier sweep with the same pins: trying takes as long again.
    Only of edges that start at the case: further on, convkit made what the tool is given."""
    results = table.latest(path) if path else []
    return {(r["edge"], r["case"]): r["bare"] for r in results if EDGES[r["edge"]].over is None}


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sweep", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(required=True)
    trial = commands.add_parser("run", help="try cases")
    trial.add_argument("--edges", default=",".join(EDGES))
    trial.add_argument("--kinds", default=",".join(KINDS))
    trial.add_argument("--every", type=int, default=1, help="take every Nth case")
    trial.add_argument("--shard", default="0/1", help="take part I of N")
    trial.add_argument("--again", action="store_true", help="also what was wrong or lost before")
    trial.add_argument(
        "--by-hand", type=Path, help="an earlier sweep's results, whose trials by hand are kept"
    )
    trial.add_argument("--minutes", type=float, default=1e6, help="stop after so long")
    trial.add_argument("--cache", type=Path, default=Path("build/sweep/cache").absolute())
    trial.set_defaults(do=run)
    show = commands.add_parser("table", help="print the counts")
    show.add_argument("--write", action="store_true", help="and put them into the documentation")
    show.set_defaults(do=lambda a: table.show(RESULTS, write=a.write))
    arguments = parser.parse_args()
    arguments.do(arguments)


main()
