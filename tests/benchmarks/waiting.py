"""How a worker's OpenMP threads wait for each other: torch's time on a small convolutional network,
with a processor of its own for every thread, and with two such processes side by side.

Threads that spin without end are fastest alone and stand in each other's way otherwise; threads
that sleep at once have to be woken a hundred times in an inference. A worker's spin for a while.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from convkit.engine.worker import QUIET
from tests.benchmarks.measure import Ratio, report

ROUNDS = 5
POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
ALONE, TOGETHER = 1.5, 2.5
"""The most that ours may take of the better one's time."""
NETWORK = """
import statistics, time, torch
layers = [torch.nn.Conv2d(3, 32, 3, 2, 1)]
for _ in range(30):
    layers += [torch.nn.Conv2d(32, 32, 3, 1, 1), torch.nn.BatchNorm2d(32), torch.nn.SiLU()]
model = torch.nn.Sequential(*layers).eval()
example, times = torch.zeros(1, 3, 160, 160), []
with torch.inference_mode():
    for _ in range(25):
        start = time.perf_counter()
        model(example)
        times.append(time.perf_counter() - start)
print(statistics.median(times[5:]))
"""


def main() -> bool:
    """Measure and print."""
    neither: dict[str, str] = {}
    ways = {
        "ours": {name: QUIET[name] for name in POLICIES},
        "asleep": {POLICIES[0]: "PASSIVE"},
        "spinning": neither,
    }
    times = {(way, count): [0.0] * ROUNDS for way in ways for count in (1, 2)}
    for number in range(ROUNDS):
        for way, count in times:
            times[way, count][number] = _side_by_side(ways[way], count)
    median = {key: statistics.median(values) for key, values in times.items()}
    for count in (1, 2):
        told = ", ".join(f"{way} {1000 * median[way, count]:.1f} ms" for way in ways)
        print(f"{count} at a time: {told}")
    ratios = [
        Ratio(
            "alone / the faster of asleep and spinning",
            median["ours", 1],
            min(median["asleep", 1], median["spinning", 1]),
            ALONE,
        ),
        Ratio(
            "two at a time / the faster of asleep and spinning",
            median["ours", 2],
            min(median["asleep", 2], median["spinning", 2]),
            TOGETHER,
        ),
    ]
    return report(f"waiting (seconds of an inference, medians of {ROUNDS} processes)", ratios)


def _side_by_side(way: dict[str, str], count: int) -> float:
    """The slowest one's median seconds of an inference."""
    inherited = {k: v for k, v in os.environ.items() if k not in POLICIES}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", NETWORK],
            env={**inherited, **way},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    return max(float(process.communicate()[0]) for process in processes)
