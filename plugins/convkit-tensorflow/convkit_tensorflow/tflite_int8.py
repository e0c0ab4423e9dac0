"""The edge tf-saved -> tflite-int8: calibrated, layers kept in float where a recipe says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convkit.errors import CalibrationError, ConversionError
from convkit.plugin import (
    Artifact,
    CalibrationData,
    ConverterBase,
    HopContext,
    Option,
    State,
    TraitRequirement,
    sample_key,
)
from convkit_tensorflow import tfl_model, tflite
from convkit_tensorflow.graph import FITS_IN_ONE_MESSAGE
from convkit_tensorflow.runtime import (
    FLATBUFFERS,
    REQUIREMENTS,
    SAFETENSORS,
    first_line,
    tensorflow,
)
from convkit_tensorflow.tfl_layers import QuantizedGraph, denied_nodes

_FLOAT, _INTEGER = "float", "integer"


class StaticInt8(ConverterBase):
    """Integer weights (per output channel) and activations (per tensor), signed 8 bit.

    A recipe's layers are named by the float file of `tensorflow.tflite`, that is by the first
    result of each operator, and bear the same names in this edge's file. They are kept in float
    by `tf.lite.experimental.QuantizationDebugger`, and what that leaves undone is mended and
    checked in the finished graph (see `tfl_layers`). Operators that TFLite cannot quantize stay
    in float without being named.
    """

    name: str = "tensorflow.tflite-int8"
    source: State = State("tf-saved")
    target: State = State("tflite", "int8")
    requirements: tuple[str, ...] = (*REQUIREMENTS, FLATBUFFERS, SAFETENSORS)
    requires: tuple[TraitRequirement, ...] = (FITS_IN_ONE_MESSAGE,)
    loss: int = 3
    seconds: float = 20.0
    options: tuple[Option, ...] = (
        Option(
            "io",
            _FLOAT,
            "type of inputs and outputs; integer ones carry a scale and a zero point",
            choices=(_FLOAT, _INTEGER),
        ),
    )
    needs_calibration: bool = True
    takes_recipe: bool = True
    float_twin: str = "tensorflow.tflite"

    def as_saved(self, artifact: Artifact, context: HopContext) -> Artifact:
        """The SavedModel to convert."""
        return artifact

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, bool | int | float | str],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        if context.calibration is None or context.calibration.count == 0:
            raise CalibrationError("static quantization needs calibration data")
        layers = context.recipe.float_layers if context.recipe else ()
        integer = options.get("io", _FLOAT) == _INTEGER
        context.progress("loading TensorFlow", None)
        tf = tensorflow(context.threads)
        artifact = self.as_saved(artifact, context)
        converter, control_flow = tflite.converter(tf, artifact.path, context.workdir)
        if control_flow:
            _refuse_loops(converter, artifact.path)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = _samples(context.calibration, artifact, context.progress)
        try:
            quantizer = tf.lite.experimental.QuantizationDebugger(
                converter=converter,
                # Unused, since only the quantized model is taken; the constructor wants one.
                debug_dataset=lambda: iter(()),
                debug_options=_options(tf, (), integer),
            )
            context.progress("quantizing", None)
            float_model = tfl_model.read(quantizer.calibrated_model)
            if layers:
                quantizer.options = _options(tf, denied_nodes(float_model, layers), integer)
            model = tfl_model.read(quantizer.get_nondebug_quantized_model())
        except CalibrationError:
            raise
        except ConversionError:
            raise
        except Exception as exc:
            if "debug mode" in str(exc):
                raise ConversionError(
                    f"nothing in {artifact.path.name} is left to be quantized",
                    hint="Keep fewer layers in float, or convert to tflite or tflite-fp16.",
                ) from exc
            raise tflite.failure(artifact.path, exc) from exc
        graph = QuantizedGraph(model, float_model)
        graph.keep_float(layers)
        graph.restore_names()
        inputs, outputs = tfl_model.specs(model, artifact)
        still_float = [s.name for s in (*inputs, *outputs) if s.dtype == "float32"]
        if integer and still_float:
            raise ConversionError(
                f"{', '.join(still_float)} cannot be integer: a layer kept in float is next to it",
                hint="Leave the option io at float, or quantize that layer.",
            )
        output.write_bytes(tfl_model.write(model))
        return Artifact(output, self.target, inputs, outputs, read=artifact.read)


def _refuse_loops(converter: Any, path: Path) -> None:
    """Stop before TensorFlow's calibrator does: it ends the process on a graph with WHILE or IF.

    Seen in TensorFlow 2.21 with a Keras LSTM and with a plain `tf.range` loop.
    """
    try:
        model = tfl_model.read(converter.convert())
    except Exception as exc:
        raise tflite.failure(path, exc) from exc
    found = sorted({"WHILE", "IF"} & set(tfl_model.op_types(model)))
    if found:
        raise ConversionError(
            f"TensorFlow cannot calibrate {path.name}: it holds {' and '.join(found)}",
            hint="Convert to tflite-int8-dynamic, or unroll the loop (Keras: unroll=True).",
        )


def _options(tf: Any, denied: list[str] | tuple[()], integer: bool) -> Any:
    return tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=list(denied) or None, fully_quantize=integer
    )


def _samples(
    data: CalibrationData, artifact: Artifact, progress: Callable[[str, float | None], None]
) -> Callable[[], Iterator[dict[str, Any]]]:
    """What TFLiteConverter calls for samples: arrays by input name."""

    def generate() -> Iterator[dict[str, Any]]:
        from safetensors import safe_open

        try:
            with safe_open(str(data.path), framework="numpy") as file:
                for sample in range(data.count):
                    progress("calibrating", sample / data.count)
                    yield {
                        spec.name: file.get_tensor(sample_key(sample, i)).astype(
                            spec.dtype, copy=False
                        )
                        for i, spec in enumerate(artifact.inputs)
                    }
        except (OSError, KeyError) as exc:
            raise _unreadable(data, exc) from exc
        except Exception as exc:
            if type(exc).__name__ == "SafetensorError":
                raise _unreadable(data, exc) from exc
            raise

    return generate


def _unreadable(data: CalibrationData, exc: Exception) -> CalibrationError:
    return CalibrationError(
        f"the calibration set {data.path.name} does not fit the model: {first_line(exc)}"
    )
