"""Statistics of a float model's tensors over calibration data, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.plugin import Artifact, CalibrationData

if TYPE_CHECKING:
    import onnx


def values(
    model: onnx.ModelProto,
    tensors: Collection[str],
    calibration: CalibrationData,
    artifact: Artifact,
    folder: Path,
    threads: int,
    progress: Callable[[str, float | None], None],
) -> Iterator[dict[str, Any]]:
    """Of each calibration sample, tensor to array.

    Raises:
        CalibrationError: a sample is missing or does not fit.
        ConversionError: ONNX Runtime cannot run the model.
    """
    import onnx

    from convkit_onnx import runner
    from convkit_onnx.ranges import sample

    shown = onnx.ModelProto.FromString(model.SerializeToString())
    known = {value.name for value in (*shown.graph.output, *shown.graph.input)}
    shown.graph.output.extend(onnx.ValueInfoProto(name=n) for n in tensors if n not in known)
    path = folder / "observed.onnx"
    path.write_bytes(shown.SerializeToString())
    session = runner.load(path, threads, plain=True)
    wanted = [name for name in tensors if name not in {v.name for v in shown.graph.input}]
    for number in range(calibration.count):
        feeds = sample(calibration, artifact, number)
        found = dict(zip(wanted, session.run(wanted, feeds), strict=True)) if wanted else {}
        found.update({name: feeds[name] for name in tensors if name not in found})
        yield found
        progress("looking at activations", (number + 1) / calibration.count)
    path.unlink()
