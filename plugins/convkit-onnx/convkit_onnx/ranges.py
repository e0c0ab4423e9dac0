"""Value ranges of a float model's tensors over calibration data, by ONNX Runtime's calibrators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.errors import CalibrationError, ConversionError
from convkit.plugin import Artifact, CalibrationData, sample_key

_BOUNDLESS = 1e30
"""Masks stand for minus infinity by numbers beyond this one; no integer scale can span them."""

_recent: dict[str, tuple[Any, frozenset[str]]] = {}
"""The last result. Recipes are tried one after the other on the same model and the same samples,
in the same process."""


@dataclass(frozen=True)
class Method:
    """How a range is made of values.

    Attributes:
        name: `MinMax`, `MeanMinMax`, `Entropy` or `Percentile`.
        percentile: for `Percentile`, the share of values inside the range, in percent.
        symmetric: zero in the middle.
    """

    name: str
    percentile: float
    symmetric: bool

    @property
    def tool(self) -> str:
        """The tool's own name; to it, the mean over samples is a setting of MinMax."""
        return "MinMax" if self.name == "MeanMinMax" else self.name


def collect(
    path: Path,
    calibration: CalibrationData,
    artifact: Artifact,
    op_types: Sequence[str],
    method: Method,
    threads: int,
    progress: Callable[[str, float | None], None],
) -> tuple[Any, frozenset[str]]:
    """The ranges as ONNX Runtime's `TensorsData`, and the tensors that no integer scale can carry:
    infinite, or as good as that.

    Args:
        path: of the prepared model.
        artifact: whose inputs the samples are for; the model's inputs bear the same names.
        op_types: whose tensors are looked at.

    Raises:
        CalibrationError: a sample is missing or does not fit.
        ConversionError: ONNX Runtime cannot run the model on a sample.
    """
    from convkit_onnx.reading import first_line

    def extremes(of: Method, without: frozenset[str]) -> Any:
        return _collect(path, calibration, artifact, op_types, of, without, threads, progress)

    key = _key(path, calibration, op_types, method)
    if key in _recent:
        return _recent[key]
    try:
        found = extremes(Method("MinMax", 0, method.symmetric), frozenset())
        masks = _boundless(found)
        # A histogram over infinity has no bins.
        result = found if method.name == "MinMax" else extremes(method, masks)
    except (CalibrationError, ConversionError):
        raise
    except Exception as exc:  # the tool raises any type
        raise ConversionError(f"calibration failed: {first_line(exc)}") from exc
    _recent.clear()
    if calibration.digest:
        _recent[key] = result, masks
    return result, masks


def _key(path: Path, calibration: CalibrationData, op_types: Sequence[str], method: Method) -> str:
    from hashlib import sha256

    model = sha256(path.read_bytes()).hexdigest()
    return repr((model, calibration.digest, tuple(op_types), method))


def _collect(
    path: Path,
    calibration: CalibrationData,
    artifact: Artifact,
    op_types: Sequence[str],
    method: Method,
    without: frozenset[str],
    threads: int,
    progress: Callable[[str, float | None], None],
) -> Any:
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    from convkit_onnx import runner

    extra: dict[str, Any] = {"symmetric": method.symmetric}
    if method.name == "Percentile":
        extra["percentile"] = method.percentile
    if method.name == "MeanMinMax":
        extra["moving_average"] = True
    augmented = path.with_name("augmented.onnx")
    calibrator = create_calibrator(
        path,
        list(op_types),
        augmented_model_path=str(augmented),
        calibrate_method=getattr(CalibrationMethod, method.tool),
        extra_options=extra,
    )
    if without:
        calibrator.tensors_to_calibrate -= without
    # The calibrator's own session would use every processor, whatever `threads` says.
    calibrator.infer_session = runner.load(augmented, threads, plain=True)
    samples = _samples(calibration, artifact, progress)
    # Histograms keep every value of every sample until they are collected: sample by sample.
    portion = calibration.count if method.tool == "MinMax" else 1
    for _ in range(0, calibration.count, portion):
        calibrator.collect_data(_Reader(samples, portion))
    progress("computing ranges", None)
    return calibrator.compute_data()


class _Reader:
    """A `CalibrationDataReader` over the next so many samples."""

    def __init__(self, samples: Iterator[dict[str, Any]], count: int) -> None:
        self._samples, self._left = samples, count

    def get_next(self) -> dict[str, Any] | None:
        """The next sample as input name to array; None at the end."""
        self._left -= 1
        return next(self._samples, None) if self._left >= 0 else None


def _samples(
    calibration: CalibrationData,
    artifact: Artifact,
    progress: Callable[[str, float | None], None],
) -> Iterator[dict[str, Any]]:
    for number in range(calibration.count):
        yield sample(calibration, artifact, number)
        progress("calibrating", (number + 1) / calibration.count)


def sample(calibration: CalibrationData, artifact: Artifact, number: int) -> dict[str, Any]:
    """One calibration sample as input name to array, in the artifact's dtypes.

    Raises:
        CalibrationError: there is none, or it does not fit.
    """
    from safetensors import safe_open

    try:
        with safe_open(str(calibration.path), framework="numpy") as file:
            return {
                spec.name: file.get_tensor(sample_key(number, index)).astype(spec.dtype)
                for index, spec in enumerate(artifact.inputs)
            }
    except Exception as exc:
        raise CalibrationError(f"the calibration data do not fit the model: {exc}") from exc


def _boundless(ranges: Any) -> frozenset[str]:
    import numpy as np

    return frozenset(
        name
        for name, data in ranges.items()
        if not all(np.all(np.abs(end) < _BOUNDLESS) for end in data.range_value)
    )
