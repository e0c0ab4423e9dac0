"""Start-up of the command line against the fastest peer's `--help`."""

from __future__ import annotations

from tests.benchmarks.measure import BIN, Ratio, interleaved, report

ROUNDS = 9


def main() -> bool:
    """Measure and print."""
    convkit, peer = BIN / "convkit", BIN / "ovc"
    medians = interleaved(
        {
            "convkit --help": [convkit, "--help"],
            "convkit formats": [convkit, "formats"],
            "convkit plan": [convkit, "plan", "--from", "torch", "--to", "tflite-int8"],
            "peer": [peer, "--help"],
        },
        ROUNDS,
    )
    limits = {"convkit --help": 0.35, "convkit formats": 0.35, "convkit plan": 0.9}
    ratios = [Ratio(f"{n} / ovc --help", medians[n], medians["peer"], v) for n, v in limits.items()]
    return report("startup (seconds, median of 9, interleaved)", ratios)
