"""What repairs of int8 are worth: SQNR against the float model on samples that calibration did not
see, for the bundled detector, a network of depthwise convolutions and a small vision transformer.

`python -m tests.benchmarks repair`; prints the table of `docs/how-to/quantize.md`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import convkit
import convkit_samples
from convkit.errors import ConvkitError
from convkit.plans import OptionValue
from tests.models import model

LEAST_GAIN_DB = 6.0
"""Of equalization with bias correction on the network that it was invented for."""

Options = Mapping[str, OptionValue]

TOOLS: Mapping[str, tuple[str, str, tuple[Options, ...]]] = {
    "ONNX Runtime": (
        "onnx-int8",
        "onnxruntime.int8",
        (
            {},
            {"method": "MeanMinMax"},
            {"method": "Percentile"},
            {"bias_correction": True},
            {"equalize": "auto"},
            {"equalize": "auto", "bias_correction": True},
            {"per_channel": False},
            {"per_channel": False, "equalize": "auto", "bias_correction": True},
            {"activations": "QUInt16"},
        ),
    ),
    "NNCF (OpenVINO)": (
        "openvino-int8",
        "nncf.openvino-int8",
        (
            {},
            {"bias_correction": "none"},
            {"bias_correction": "full"},
            {"smooth_quant": "0.5"},
            {"activation_ranges": "mean-min-max"},
        ),
    ),
    "TFLite": (
        "tflite-int8",
        "ai-edge-quantizer.int8",
        ({}, {"ranges": "moving-average"}, {"activations": "int16"}),
    ),
}
"""Title to target, edge and the options tried."""


@dataclass(frozen=True)
class Case:
    """A model with its data; `keep_float` as in the settings."""

    path: Path
    calibration: Path
    validation: Path
    keep_float: str = "none"


def main() -> bool:
    """Measure and print."""
    cases = _cases()
    found: dict[str, dict[str, float | None]] = {}
    print("\nrepair (SQNR in dB on samples that calibration did not see)")
    print(f"| tool | options | {' | '.join(cases)} |")
    print(f"|---|---|{'---|' * len(cases)}")
    for tool, (target, edge, variants) in TOOLS.items():
        for options in variants:
            row = {name: _sqnr(case, target, edge, options) for name, case in cases.items()}
            told = ", ".join(f"{k}={_word(v)}" for k, v in options.items()) or "as it is"
            cells = " | ".join("-" if v is None else f"{v:.1f}" for v in row.values())
            print(f"| {tool} | {told} | {cells} |", flush=True)
            found[f"{tool}: {told}"] = row
    print(json.dumps({"benchmark": "repair", "rows": found}), flush=True)
    plain = found["ONNX Runtime: as it is"]["depthwise"]
    mended = found["ONNX Runtime: equalize=auto, bias_correction=true"]["depthwise"]
    return plain is not None and mended is not None and mended - plain >= LEAST_GAIN_DB


def _word(value: OptionValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cases() -> dict[str, Case]:
    sample = Path(convkit_samples.__file__).parent / "data" / "digits-yolo"
    return {
        # With nothing in float its scores are lost, whatever is repaired.
        "detector": Case(
            sample / "model.pt2", sample / "calibration", sample / "validation", "auto"
        ),
        "depthwise": _classifier(model("depthwise")),
        "vit": _classifier(model("vit")),
    }


def _classifier(folder: Path) -> Case:
    return Case(folder / "model.pt2", folder / "calibration.npz", folder / "validation.npz")


def _sqnr(case: Case, target: str, edge: str, options: Options) -> float | None:
    """The worst slice's; None where the tool refuses."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = convkit.convert(
                case.path,
                to=target,
                calibration=case.calibration,
                data=case.validation,
                metric="fidelity",
                output_dir=folder,
                steering=convkit.Steering(
                    converters=(edge,), options={f"{edge}.{k}": v for k, v in options.items()}
                ),
                settings=convkit.Settings(keep_float=case.keep_float, verify=False),
            )
        except ConvkitError as error:
            print(f"  {edge} {dict(options)}: {error.message}")
            return None
    assert result.scoreboard is not None
    return list(result.scoreboard.rows.values())[-1].details["sqnr_db"]
