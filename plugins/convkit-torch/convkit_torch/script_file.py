"""TorchScript files that say what they take and give, and nothing about where they were made."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.plugin import TensorSpec

if TYPE_CHECKING:
    import torch

_MEMBER = "convkit.json"
_PRIVATE = ("traced_inputs", ".debug_pkl")
"""Members that a reader does not need: the example of the recording, and its source lines with
their absolute paths."""
_MAX_BYTES = 1_000_000
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Description:
    """What TorchScript itself does not keep.

    Attributes:
        inputs, outputs: in the order of the module's own.
        sizes: of each input one shape that the module takes.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sizes: tuple[tuple[int, ...], ...]


def save(module: Any, output: Path, about: Description, workdir: Path, *, mobile: bool) -> None:
    """Write a recorded module with its description.

    Args:
        mobile: add the bytecode that torch's lite interpreter runs; everybody else reads the file
            as before.
    """
    import torch

    draft = workdir / "recorded.pt"
    extra = {_MEMBER: _text(about)}
    if mobile:
        module._save_for_lite_interpreter(str(draft), _extra_files=extra)
    else:
        torch.jit.save(module, str(draft), _extra_files=extra)
    with zipfile.ZipFile(draft) as source, zipfile.ZipFile(output, "w") as target:
        root = source.namelist()[0].partition("/")[0]
        for member in source.infolist():
            inner = member.filename.partition("/")[2]
            if inner.startswith(_PRIVATE[0]) or inner.endswith(_PRIVATE[1]):
                continue
            assert member.filename.startswith(f"{root}/")
            target.writestr(zipfile.ZipInfo(f"model/{inner}", _EPOCH), source.read(member))


def read(path: Path) -> Description | None:
    """The description inside a file, None where there is none that makes sense."""
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = f"/extra/{_MEMBER}"
            found = [m for m in archive.infolist() if m.filename.endswith(wanted)]
            if len(found) != 1 or found[0].file_size > _MAX_BYTES:
                return None
            content = json.loads(archive.read(found[0]))
        inputs = [_spec(entry) for entry in content["inputs"]]
        outputs = [_spec(entry) for entry in content["outputs"]]
        sizes = tuple(tuple(int(d) for d in entry["size"]) for entry in content["inputs"])
    except (ValueError, KeyError, TypeError, OSError):  # anybody may have written it
        return None
    fits = all(
        len(spec.shape) == len(size) and all(s == d or not isinstance(s, int) for s, d in pairs)
        for spec, size in zip(inputs, sizes, strict=True)
        for pairs in [list(zip(spec.shape, size, strict=False))]
    )
    return Description(tuple(inputs), tuple(outputs), sizes) if fits and outputs else None


def examples(about: Description) -> tuple[torch.Tensor, ...]:
    """Tensors that the module takes; see `reading.example_tensors`."""
    from convkit.plugin import ReadOptions
    from convkit_torch import reading

    sizes = {spec.name: size for spec, size in zip(about.inputs, about.sizes, strict=True)}
    dtypes = {spec.name: spec.dtype for spec in about.inputs}
    return reading.example_tensors(list(sizes), ReadOptions(shapes=sizes, dtypes=dtypes))


def _text(about: Description) -> str:
    def entry(spec: TensorSpec) -> dict[str, Any]:
        return {
            "name": spec.name,
            "shape": list(spec.shape),
            "dtype": spec.dtype,
            "layout": spec.layout,
        }

    pairs = zip(about.inputs, about.sizes, strict=True)
    content = {
        "inputs": [{**entry(spec), "size": list(size)} for spec, size in pairs],
        "outputs": [entry(spec) for spec in about.outputs],
    }
    return json.dumps(content, indent=1, sort_keys=True)


def _spec(entry: Any) -> TensorSpec:
    shape = tuple(d if isinstance(d, int) or d is None else str(d) for d in entry["shape"])
    return TensorSpec(str(entry["name"]), shape, str(entry["dtype"]), str(entry["layout"]))
