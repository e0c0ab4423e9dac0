"""OpenVINO's front ends: from a framework's model to an `openvino.Model`.

The front ends are called themselves, not `openvino.convert_model`: that one reports each use to
its makers over the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError

if TYPE_CHECKING:
    import openvino

_MISSING = re.compile(r"No conversion rule found for operations?: (.+)")
_OPSET = re.compile(r"-\d+$")


@dataclass(frozen=True)
class Names:
    """Public name to the name inside the source's file, where the two differ."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


class Unsupported(Exception):
    """The front end has no rule for these operators, in its own spelling."""

    def __init__(self, operators: tuple[str, ...]) -> None:
        super().__init__(", ".join(operators))
        self.operators = operators


def translate(framework: str, source: Any) -> openvino.Model:
    """Convert and tidy up, as OpenVINO's own converter does.

    Args:
        framework: `onnx`, `tf`, `tflite` or `pytorch`.
        source: a path as a string, or a torch decoder (kept alive by the caller).

    Raises:
        Unsupported: the front end lacks operators.
        ConversionError: anything else that it stumbles over.
    """
    from convkit_openvino import naming
    from convkit_openvino.runtime import first_line, without_telemetry

    without_telemetry()
    from openvino._offline_transformations import (
        apply_moc_transformations,
        compress_quantize_weights_transformation,
    )
    from openvino.frontend import FrontEndManager

    try:
        front_end = FrontEndManager().load_by_framework(framework)
        model = front_end.convert(front_end.load(source, True))
        known = naming.matrix_names(model)
        apply_moc_transformations(model, cf=False, smart_reshape=True)
        compress_quantize_weights_transformation(model)
        naming.restore(model, known)
    except Exception as exc:  # OpConversionFailure, GeneralFailure, RuntimeError
        missing = _MISSING.search(str(exc))
        if missing:
            # `Det-13` is ONNX's Det as of opset 13.
            names = (_OPSET.sub("", name.strip()) for name in missing[1].split(","))
            raise Unsupported(tuple(names)) from exc
        raise ConversionError(
            f"OpenVINO cannot convert this model: {first_line(exc)}",
            hint="Take another road to OpenVINO.",
        ) from exc
    return model
