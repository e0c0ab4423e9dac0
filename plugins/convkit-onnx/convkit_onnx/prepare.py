"""A float model made ready for ONNX Runtime's quantizers: nodes with names, weights as
initializers, batch normalization and biases fused into what they follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Prepared:
    """Attributes:
    path: where the model is to be written, in the hop's private folder.
    model: every node has a name of its own.
    counterparts: layer of the artifact to the nodes that compute it now, none where it is gone.
    notes: what was done that people should know.
    """

    path: Path
    model: onnx.ModelProto
    counterparts: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


def prepare(model: onnx.ModelProto, workdir: Path, opset: int, *, fuse: bool) -> Prepared:
    """Make a model ready. It is used up.

    Args:
        opset: the least that the quantizer needs.
        fuse: let ONNX Runtime fold constants and fuse operators.

    Raises:
        ConversionError: the opset cannot be raised, or the model cannot be prepared.
    """
    from convkit_onnx.origins import counterparts

    _name_layers(model)
    before = _without_constants(model)
    constants = {name for n in model.graph.node if n.op_type == "Constant" for name in n.output}
    constants.update(tensor.name for tensor in model.graph.initializer)
    _constants_to_initializers(model)
    notes = []
    version = _opset(model)
    if version < opset:
        model = _raise_opset(model, opset)
        notes.append(f"the opset was raised from {version} to {opset}, which the quantizer needs")
    path = workdir / "prepared.onnx"
    if fuse:
        model = _fused(model, workdir, path)
    _name_rest(model)
    found = counterparts(before, _without_constants(model), constants)
    return Prepared(path, model, found, tuple(notes))


def _name_layers(model: onnx.ModelProto) -> None:
    """Give every node the name that its layer goes by."""
    from convkit_onnx.layers import named_nodes

    for name, node in list(named_nodes(model)):
        node.name = name


def _name_rest(model: onnx.ModelProto) -> None:
    """Name the nodes that fusion made; a quantizer refers to nodes by name."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}#{index}"
        taken.add(node.name)


def _without_constants(model: onnx.ModelProto) -> list[Any]:
    kind = type(model.graph.node.add())
    del model.graph.node[-1]
    return [
        kind.FromString(node.SerializeToString())
        for node in model.graph.node
        if node.op_type != "Constant"
    ]


def _constants_to_initializers(model: onnx.ModelProto) -> None:
    """The quantizers look for weights among the initializers only, and for those that are no
    inputs that a caller may override."""
    outputs = {value.name for value in model.graph.output}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and tensor is not None and node.output[0] not in outputs:
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
        else:
            model.graph.node.append(node)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # before it, every initializer was an input


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _raise_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    from onnx import version_converter

    from convkit_onnx.reading import first_line

    try:
        return version_converter.convert_version(model, opset)
    except Exception as exc:  # of any type, from C++ too
        raise ConversionError(
            f"the opset cannot be raised from {_opset(model)} to {opset}: {first_line(exc)}",
            hint=f"Export the model at opset {opset} or above.",
        ) from exc


def _fused(model: onnx.ModelProto, workdir: Path, path: Path) -> onnx.ModelProto:
    """By ONNX Runtime's own pre-processing; symbolic shapes only where there are any, and without
    them where they contradict each other."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from convkit_onnx.inspector import io_specs
    from convkit_onnx.reading import first_line

    named = workdir / "named.onnx"
    _save(model, named)
    inputs, _ = io_specs(model)
    dynamic = any(not isinstance(size, int) for spec in inputs for size in spec.shape)
    for symbolic in (True, False) if dynamic else (False,):
        try:
            quant_pre_process(
                str(named), str(path), skip_symbolic_shape=not symbolic, auto_merge=True
            )
            return onnx.load(str(path))
        except Exception as exc:  # whatever the tool meets
            if not symbolic:
                raise ConversionError(
                    f"ONNX Runtime's pre-processing failed: {first_line(exc)}",
                    hint="Leave it out with -O preprocess=false.",
                ) from exc
    raise AssertionError("the loop ends with a result or an error")


def _save(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))
