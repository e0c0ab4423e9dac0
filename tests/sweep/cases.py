"""The models that the onnx package builds without a network, with inputs and what they give."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")

STEPS = 4
"""So many steps of the output's own type, at its largest value, are the rounding of arithmetic in
another order, which onnx's own absolute tolerance of 1e-7 has no room for."""
BFLOAT16_RTOL = 2**-6
"""What onnx's own test allows outputs of this type."""


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


def agrees(case: Case, found: Sequence[Any], expected: Sequence[Any], turned: bool = False) -> str:
    """Why the outputs are not what the case expects, within its own tolerance and for numbers of
    every type, as onnx's own test has it; empty where they are.

    Args:
        turned: an output may have its channels last.
    """
    import numpy as np

    if len(found) != len(expected):
        return f"{len(found)} outputs instead of {len(expected)}"
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        if ("float" in str(a.dtype)) != ("float" in str(b.dtype)):
            return f"output {number} is {a.dtype} instead of {b.dtype}"
        forms = [a, np.moveaxis(a, -1, 1)] if turned and a.ndim > 2 else [a]
        fitting = [form for form in forms if form.shape == b.shape]
        if not fitting:
            return f"output {number} has shape {a.shape} instead of {b.shape}"
        if not any(_close(case, form, b) for form in fitting):
            return f"output {number} differs"
    return ""


def _close(case: Case, found: Any, expected: Any) -> bool:
    import numpy as np

    kind = str(expected.dtype)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    atol = case.atol
    if kind in ("float16", "float32", "float64", "bfloat16"):
        step = 2**-7 if kind == "bfloat16" else float(np.finfo(expected.dtype).eps)
        atol = max(atol, STEPS * step * float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
    rtol = max(case.rtol, BFLOAT16_RTOL) if kind == "bfloat16" else case.rtol
    return bool(np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True))
