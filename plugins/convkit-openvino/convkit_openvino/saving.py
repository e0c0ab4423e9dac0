"""Write an IR: the `.xml` and its `.bin`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError

if TYPE_CHECKING:
    import openvino

_HALF_MAX = 65504.0


def save(model: openvino.Model, output: Path, workdir: Path, *, half: bool) -> None:
    """Write both files, or none.

    Args:
        output: the `.xml`; the `.bin` of the same stem lies beside it.
        half: store float32 weights as float16, expanded when the file is loaded. Inputs, outputs
            and arithmetic stay float32.

    Raises:
        ConversionError: OpenVINO could not write.
    """
    import openvino

    from convkit_openvino.runtime import first_line

    try:
        wide = _beyond_half(model) if half else {}
        if wide:
            draft = workdir / "half.xml"
            openvino.save_model(model, draft, compress_to_fp16=True)
            model, half = openvino.Core().read_model(draft), False
            _put_back(model, wide)
        # `save_model` compresses to float16 unless told otherwise.
        openvino.save_model(model, output, compress_to_fp16=half)
    except Exception as exc:  # RuntimeError
        for file in (output, output.with_suffix(".bin")):
            file.unlink(missing_ok=True)
        raise ConversionError(f"OpenVINO could not write the model: {first_line(exc)}") from exc


def _beyond_half(model: openvino.Model) -> dict[str, Any]:
    """Constants with a value that float16 cannot hold, by name. OpenVINO would clamp it in
    silence, be it a weight of a million or the minus infinity of a mask."""
    import numpy as np

    found = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant":
            data = node.get_data()
            if data.dtype == np.float32 and data.size and np.abs(data).max() > _HALF_MAX:
                found[node.friendly_name] = np.array(data)
    return found


def _put_back(model: openvino.Model, wide: dict[str, Any]) -> None:
    """Undo the compression of these constants: the name is then that of the Convert behind."""
    from openvino import opset13 as operators

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert" or node.friendly_name not in wide:
            continue
        constant = operators.constant(wide[node.friendly_name])
        if list(constant.shape) == list(node.shape):
            constant.set_friendly_name(node.friendly_name)
            node.output(0).replace(constant.output(0))
