"""The models that the onnx package builds without a network, with inputs and what they give."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")

COARSE = {"bfloat16": 2e-2, "float16": 2e-3}
"""A few steps of a type around 1: tools differ in where they round to it."""


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        model: the path of the file, or the model itself.
        sets: pairs of inputs and expected outputs; None stands for what is no numeric tensor.
        rtol, atol: how far from the expected outputs counts as equal.
    """

    name: str
    kind: str
    model: Any
    sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float

    def write(self, folder: Path) -> Path:
        """The model's file; made where it is only in memory."""
        import onnx

        if isinstance(self.model, Path):
            return self.model
        path = folder / f"{self.name}.onnx"
        onnx.save(self.model, path)
        return path


def cases(kinds: Sequence[str] = KINDS) -> Iterator[Case]:
    """All cases, always in the same order."""
    from onnx.backend.test.case.node import collect_testcases
    from onnx.backend.test.loader import load_model_tests

    for kind in kinds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind == "node":
                found = sorted(collect_testcases(None), key=lambda c: c.name)
                for case in found:
                    sets = [tuple(map(_arrays, pair)) for pair in case.data_sets]
                    yield Case(case.name, kind, case.model, sets, case.rtol, case.atol)
            elif kind == "light":
                yield from _light()
            else:
                for case in sorted(load_model_tests(kind=kind), key=lambda c: c.name):
                    folder = Path(case.model_dir)
                    path = folder / "model.onnx"
                    yield Case(case.name, kind, path, _stored(path, folder), case.rtol, case.atol)


def _arrays(values: Sequence[Any]) -> list[Any]:
    """Tensors as arrays; sequences, optionals and strings as None."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    found = []
    for value in values:
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        elif isinstance(value, np.generic):
            value = np.asarray(value)
        array = isinstance(value, np.ndarray) and value.dtype.kind not in "OUS"
        found.append(value if array else None)
    return found


def _stored(path: Path, folder: Path) -> list[tuple[list[Any], list[Any]]]:
    """The data sets that lie beside a model."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    sets = []
    for data in sorted(folder.glob("test_data_set_*")):
        pair = []
        for what, infos in (("input", graph.input), ("output", graph.output)):
            files = [data / f"{what}_{n}.pb" for n in range(len(list(data.glob(f"{what}_*.pb"))))]
            pair.append([_read(f, i) for f, i in zip(files, infos, strict=False)])
        sets.append((pair[0], pair[1]))
    return sets


def _read(file: Path, info: Any) -> Any:
    import onnx
    from onnx import numpy_helper

    if not info.type.HasField("tensor_type"):
        return None
    return _arrays([numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes()))])[0]


def _light() -> Iterator[Case]:
    """Whole networks whose weights are constants; a ramp goes in, as in onnx's own test."""
    import numpy as np
    import onnx
    from onnx import numpy_helper
    from onnx.backend.test import loader

    folder = Path(loader.__file__).parents[1] / "data" / "light"
    for path in sorted(folder.glob("*.onnx")):
        graph = onnx.load(path).graph
        weights = {i.name for i in graph.initializer}
        inputs = []
        for info in graph.input:
            if info.name not in weights:
                shape = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
                size = int(np.prod(shape))
                inputs.append((np.arange(size).reshape(shape) / size).astype(np.float32))
        stored = path.with_name(f"{path.stem}_output_0.pb")
        expected = numpy_helper.to_array(onnx.TensorProto.FromString(stored.read_bytes()))
        with contextlib.suppress(ValueError):
            yield Case(path.stem, "light", path, [(inputs, [expected])], 1e-3, 1e-5)


def agrees(case: Case, found: Sequence[Any], expected: Sequence[Any]) -> str:
    """Why the outputs are not what the case expects; empty where they are."""
    import numpy as np

    if len(found) != len(expected):
        return f"{len(found)} outputs instead of {len(expected)}"
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        b = np.asarray(b)
        if a.shape != b.shape:
            return f"output {number} has shape {a.shape} instead of {b.shape}"
        if b.dtype.kind in "biu":
            # quantized values may be rounded the other way at a tie
            step = 1 if b.dtype in (np.int8, np.uint8) else 0
            if (np.abs(a.astype(np.int64) - b.astype(np.int64)) > step).any():
                return f"output {number} differs"
            continue
        coarse = COARSE.get(str(b.dtype), 0.0)
        close = np.allclose(
            a.astype(np.float64),
            b.astype(np.float64),
            rtol=max(case.rtol, 1e-3, coarse),
            atol=max(case.atol, 1e-4, coarse),
            equal_nan=True,
        )
        if not close:
            return f"output {number} differs"
    return ""
