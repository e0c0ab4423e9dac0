"""Value ranges of a float file's tensors over calibration data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from convkit.errors import CalibrationError, ConversionError
from convkit.plugin import Artifact, CalibrationData, sample_key
from convkit_litert.arrays import encode
from convkit_litert.model import Model, Port


def samples(
    calibration: CalibrationData, artifact: Artifact, model: Model
) -> Iterator[dict[str, Any]]:
    """Each sample as public input name to array, in the file's dtypes; one in memory at a time.

    Raises:
        CalibrationError: a sample is missing or does not fit the file's inputs.
    """
    from safetensors import safe_open

    from convkit_litert.runner import resolve

    ports: tuple[Port, ...] = resolve(artifact.inputs, model.inputs(), "input")
    try:
        with safe_open(str(calibration.path), framework="numpy") as file:
            for number in range(calibration.count):
                yield {
                    port.name: encode(file.get_tensor(sample_key(number, place)), port)
                    for place, port in enumerate(ports)
                }
    except CalibrationError:
        raise
    except Exception as exc:
        raise CalibrationError(f"the calibration data do not fit the model: {exc}") from exc


def ranges(
    data: bytes,
    signature: str,
    recipe: list[dict[str, Any]],
    given: Iterator[dict[str, Any]],
    smallest_to_largest: bool,
    threads: int,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Minimum and maximum of every tensor.

    Args:
        smallest_to_largest: take the extremes over all samples, else a moving average of
            each sample's extremes.
        progress: called with the number of samples done.

    Raises:
        CalibrationError: there was no sample.
        ConversionError: the runtime cannot execute the float file.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    update = qsv_utils.min_max_update if smallest_to_largest else qsv_utils.moving_average_update
    count = 0
    try:
        # The profiler takes ranges while the kernels run; the other mode copies every tensor
        # of every sample to Python and is five times slower for the same numbers.
        collector = calibrator.Calibrator(
            data,
            num_threads=threads or 1,
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
            qsv_update_func=update,
        )
        for count, sample in enumerate(given, 1):
            collector.calibrate({signature: [sample]}, manager)
            progress(count)
    except CalibrationError:
        raise
    except Exception as exc:
        raise ConversionError(f"calibration failed: {str(exc).strip().splitlines()[0]}") from exc
    if not count:
        raise CalibrationError("the calibration data hold no sample")
    return dict(collector.get_model_qsvs())
