"""From a file to the original model: float32, eval mode, with the size of its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError, InputError, UsageError
from convkit.plugin import ReadOptions, TensorSpec
from convkit_ultralytics import description, framework, pickles, safety

if TYPE_CHECKING:
    import torch

INPUT = "images"
_DEFAULT_SIDE, _DEFAULT_SIDE_CLASSIFY = 640, 224
_UNNAMED = "input"
"""The name that the command line gives to a shape without one."""
_AXES = ("batch", "channels", "height", "width")

# Their result in eval mode is not yet the size of the image; only in export mode they finish it.
_FINISHED_BY_EXPORT = frozenset({"Depth", "SemanticSegment"})


@dataclass(frozen=True)
class Original:
    """The model as its authors run it.

    Attributes:
        module: an ultralytics model in float32 and eval mode.
        shape: of its input, NCHW.
        dynamic: axes of the input that are to stay variable in exports.
        parameter_bytes: as stored in the file, by dtype; empty for a description.
        digest: of the content where the file's own will not do, else empty.
        traits: see `Artifact.traits`; `weights` is `random` where the file holds none.
        producer: what wrote the file.
    """

    module: Any
    shape: tuple[int, int, int, int]
    dynamic: tuple[int, ...]
    parameter_bytes: Mapping[str, int]
    digest: str
    traits: Mapping[str, bool | int | str]
    producer: str

    @property
    def input(self) -> TensorSpec:
        """The spec of the only input, pixels in 0..1."""
        shape = tuple(
            name if axis in self.dynamic else size
            for axis, (name, size) in enumerate(zip(_AXES, self.shape, strict=True))
        )
        return TensorSpec(INPUT, shape, "float32", "NCHW")

    @property
    def other_shape(self) -> tuple[int, ...]:
        """Another shape of the input that the model takes: larger along the dynamic axes."""
        step = _stride(self.module)
        return tuple(
            size + (1 if axis == 0 else step) if axis in self.dynamic else size
            for axis, size in enumerate(self.shape)
        )


_last: dict[tuple[object, ...], Original] = {}


def load(path: Path, read: ReadOptions) -> Original:
    """Read a checkpoint, or build a description. What was read last is kept, because inspecting,
    exporting and verifying all begin here; whoever changes the model works on a copy.

    Raises:
        InputError: neither, or damaged.
        UnsafeError: reading it would run code and `read.trust` is False.
        UsageError: `read.shapes` does not fit.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file", hint="A checkpoint is a single file.")
    status = path.stat()
    key = (str(path.resolve()), status.st_ino, status.st_size, status.st_mtime_ns, repr(read))
    if key not in _last:
        _last.clear()
        _last[key] = _load(path, read)
    return _last[key]


def _load(path: Path, read: ReadOptions) -> Original:
    with path.open("rb") as file:
        start = file.read(len(pickles.ZIP_MAGIC))
    if start == pickles.ZIP_MAGIC:
        return _from_checkpoint(path, read)
    return _from_description(path, read)


def _from_description(path: Path, read: ReadOptions) -> Original:
    found = description.read(path)
    module = description.build(found, read.trust)
    return Original(
        module=_prepared(module),
        shape=_shape(module, found.get("imgsz"), read),
        dynamic=_dynamic(read),
        parameter_bytes=_parameter_bytes(module),
        digest=description.digest(found),
        traits={
            "architecture": type(module).__name__,
            "weights": "random",
            "seed": description.SEED,
            **({"scale": found["scale"]} if found["scale"] else {}),
        },
        producer=f"ultralytics {framework.version()}: built from a description with RANDOM weights "
        f"(seed {description.SEED}); nothing was trained",
    )


def _from_checkpoint(path: Path, read: ReadOptions) -> Original:
    content = safety.load(path, read.trust)
    if not isinstance(content, Mapping):
        raise InputError(f"{path.name} holds no checkpoint, but {type(content).__name__}")
    module = content.get("ema") or content.get("model")
    if not isinstance(module, framework.tasks().BaseModel):
        raise InputError(f"{path.name} holds no model of ultralytics")
    if content.get("modelopt"):
        raise InputError(
            f"{path.name} was trained for quantization with NVIDIA ModelOpt",
            hint="Its quantizers would be lost. Export it with ultralytics, and convert the ONNX.",
        )
    arguments = content.get("train_args")
    side = arguments.get("imgsz") if isinstance(arguments, Mapping) else None
    stored = _parameter_bytes(module)
    try:
        model = _prepared(module.float().eval())
    except Exception as exc:  # attributes of any kind may have been missing or strange in the file
        raise InputError(f"{path.name} holds a broken model: {framework.first_line(exc)}") from exc
    made_by = content.get("version")
    return Original(
        module=model,
        shape=_shape(model, side, read),
        dynamic=_dynamic(read),
        parameter_bytes=stored,
        digest="",
        traits={"architecture": type(model).__name__, "weights": "trained"},
        producer=f"ultralytics {made_by}" if isinstance(made_by, str) else "ultralytics",
    )


def _prepared(module: Any) -> Any:
    """The form that the exports are compared with.

    A model with two heads answers by the one-to-many head, as ultralytics exports it by default:
    its other head ends in a selection of the best few, whose order hangs on the last bit.
    """
    import torch

    head = module.model[-1]
    if getattr(head, "one2one_cv2", None) is not None and getattr(head, "cv2", None) is not None:
        head.end2end = False
    if type(head).__name__ in _FINISHED_BY_EXPORT:
        head.export = True
    for part in module.modules():
        if isinstance(part, torch.nn.Upsample) and not hasattr(part, "recompute_scale_factor"):
            part.recompute_scale_factor = None  # pickled before torch 1.11
    return module.requires_grad_(False)


def _parameter_bytes(module: Any) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        name = str(tensor.dtype).removeprefix("torch.")
        sizes[name] = sizes.get(name, 0) + tensor.numel() * tensor.element_size()
    return dict(sorted(sizes.items()))


def _shape(module: Any, side: object, read: ReadOptions) -> tuple[int, int, int, int]:
    """Of the input: what the user said, else what the file says, else the usual size."""
    given = read.shapes
    unknown = [name for name in (*given, *read.dynamic) if name not in (INPUT, _UNNAMED)]
    if unknown:
        raise UsageError(
            f"the model has no input {unknown[0]!r}",
            hint=f"Its only input is {INPUT}: --shape {INPUT}=1x3x640x640.",
        )
    channels = int(module.yaml.get("channels", module.yaml.get("ch", 3)))
    stride = _stride(module)
    if given:
        return _checked(tuple(given.get(INPUT, given.get(_UNNAMED, ()))), channels, stride)
    usual = _DEFAULT_SIDE_CLASSIFY if _classifies(module) else _DEFAULT_SIDE
    sides = side if isinstance(side, list | tuple) and len(side) == 2 else (side, side)
    sizes = [s if isinstance(s, int) and s > 0 else usual for s in sides]
    height, width = (ceil(s / stride) * stride for s in sizes)
    return 1, channels, height, width


def _checked(shape: tuple[int, ...], channels: int, stride: int) -> tuple[int, int, int, int]:
    example = f"--shape {INPUT}=1x{channels}x640x640"
    if len(shape) != 4 or shape[1] != channels:
        raise UsageError(
            f"{INPUT} cannot be of shape {'x'.join(map(str, shape))}: the model takes batches of "
            f"pictures with {channels} channels",
            hint=f"Give it as {example}.",
        )
    batch, _, height, width = shape
    if height % stride or width % stride:
        fit = "x".join(str(max(1, round(side / stride)) * stride) for side in (height, width))
        raise UsageError(
            f"{INPUT} of {height}x{width} pixels does not fit: the model needs multiples of "
            f"{stride}",
            hint=f"The nearest is --shape {INPUT}={batch}x{channels}x{fit}.",
        )
    return batch, channels, height, width


def _stride(module: Any) -> int:
    stride = getattr(module, "stride", None)
    return max(1, int(stride.max())) if stride is not None else 32


def _classifies(module: Any) -> bool:
    return type(module.model[-1]).__name__ == "Classify"


def _dynamic(read: ReadOptions) -> tuple[int, ...]:
    axes = tuple(sorted(read.dynamic.get(INPUT, read.dynamic.get(_UNNAMED, ()))))
    if any(axis not in (0, 2, 3) for axis in axes):
        raise UsageError(f"only batch, height and width of {INPUT} (axes 0, 2, 3) can be variable")
    return axes


def results(module: Any, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The inference outputs, without the raw predictions that eval mode hands out beside them."""
    import torch

    with torch.no_grad():
        answer = module(images)
    if isinstance(answer, tuple) and not getattr(module.model[-1], "export", False):
        answer = answer[0]
    return flat_tensors(answer)


def flat_tensors(value: Any) -> tuple[torch.Tensor, ...]:
    """All tensors of a nested result, in order."""
    import torch
    from torch.utils import _pytree as pytree

    return tuple(leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor))


def output_specs(original: Original, outputs: Sequence[torch.Tensor]) -> tuple[TensorSpec, ...]:
    """Specs of the results of one inference; axes that follow a variable input are named."""
    import torch

    others = outputs
    if original.dynamic:
        others = results(original.module, torch.zeros(original.other_shape))
    specs = []
    for name, one, other in zip(output_names(len(outputs)), outputs, others, strict=True):
        shape = tuple(
            size if size == another else "batch" if axis == 0 else f"{name}_{axis}"
            for axis, (size, another) in enumerate(zip(one.shape, other.shape, strict=True))
        )
        specs.append(TensorSpec(name, shape, str(one.dtype).removeprefix("torch.")))
    return tuple(specs)


def output_names(count: int) -> list[str]:
    """The names that ultralytics gives to the outputs of its exports."""
    return [f"output{index}" for index in range(count)]


def place_of(names: Sequence[str], count: int) -> tuple[int, ...]:
    """For each output name of an artifact its place among the model's results.

    Raises:
        ConversionError: the names are others.
    """
    known = output_names(count)
    if sorted(names) != sorted(known):
        raise ConversionError(f"the model's outputs are {known}, not {list(names)}")
    return tuple(known.index(name) for name in names)
