"""Hooks of convkit-torch; cheap to import, since every command line does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plugin import Format, hookimpl
from convkit_torch import container

if TYPE_CHECKING:
    from convkit.plugin import Converter, Detection, Inspector, Ranker, Runner


@hookimpl
def convkit_formats() -> Iterable[Format]:
    """The `torch` format."""
    precisions = ("fp32", "fp16", "int8-dynamic")
    return (
        Format(
            "torch",
            "PyTorch",
            suffixes=container.SUFFIXES,
            precisions=precisions,
            own_suffixes={"int8-dynamic": ".pt"},  # TorchScript
        ),
    )


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """Export to torch.export archives and to ONNX, dynamic int8, and float32 of half precision."""
    from convkit_torch.export_program import ExportProgram
    from convkit_torch.fix_shapes import FixShapes
    from convkit_torch.int8_dynamic import Int8Dynamic
    from convkit_torch.onnx_dynamo import OnnxDynamo
    from convkit_torch.onnx_half import OnnxDynamoHalf
    from convkit_torch.onnx_legacy import OnnxLegacy
    from convkit_torch.widen import Widen

    return (
        ExportProgram(),
        FixShapes(),
        OnnxDynamo(),
        OnnxDynamoHalf(),
        OnnxLegacy(),
        Int8Dynamic(),
        Widen(),
    )


@hookimpl
def convkit_runners() -> Iterable[Runner]:
    """PyTorch itself."""
    from convkit_torch.runner import TorchRunner

    return (TorchRunner(),)


@hookimpl
def convkit_rankers() -> Iterable[Ranker]:
    """Gradients of PyTorch."""
    from convkit_torch.adjoint import AdjointRanker

    return (AdjointRanker(),)


@hookimpl
def convkit_inspectors() -> Iterable[Inspector]:
    """The reader of torch files."""
    from convkit_torch.inspector import TorchInspector

    return (TorchInspector(),)


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """By the archive's members or a magic number; else, weakly, by the suffix."""
    from convkit.plugin import Detection

    kind = container.kind_of(path, head)
    if kind is not None:
        # A pickle says little about what it holds: a framework's own checkpoints are such files.
        return Detection("torch", 0.95 if kind == container.PICKLE_ZIP else 1.0)
    if head and path.suffix.lower() in container.SUFFIXES:
        return Detection("torch", 0.5)
    return None


@hookimpl
def convkit_save_live(
    model: object,
    example_inputs: Sequence[object],
    output: Path,
    dynamic: Mapping[str, tuple[int, ...]],
) -> str | None:
    """Write a live nn.Module or ExportedProgram to `output`."""
    from convkit_torch.live import export_module, is_torch_model

    if not is_torch_model(model):
        return None
    export_module(model, example_inputs, output, dynamic)
    return "torch"
