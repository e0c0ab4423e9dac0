"""`onnx2torch.torch`: by onnx2torch, whose layers keep the names of the ONNX nodes."""

from __future__ import annotations

from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import State
from convkit_onnx2torch.by_onnx2fx import described
from convkit_onnx2torch.importer import Importer


class ByOnnx2Torch(Importer):
    """The narrower importer: one torch module for each ONNX node, which keeps its name."""

    name: str = "onnx2torch.torch"
    requirements: tuple[str, ...] = ("onnx2torch", "torch", "torchvision", "onnx")
    seconds: float = 10.0  # as quick as its rival, and reaches less: second where both would do

    def missing(self, node: Any, opset: int) -> str:
        """See `Importer.missing`."""
        registry = _import().node_converters.registry
        try:
            registry.get_converter(node.op_type, opset, node.domain)
        except NotImplementedError:
            return described(node, opset)
        return ""

    def build(self, model: Any) -> Any:
        """See `Importer.build`."""
        tool = _import()
        _separate_outputs(model)
        return tool.convert(model, save_input_names=True)


class ByOnnx2TorchFp16(ByOnnx2Torch):
    """The same for models in half precision, which stay so."""

    name: str = "onnx2torch.torch-fp16"
    source: State = State("onnx", "fp16")
    target: State = State("torch", "fp16")


def _separate_outputs(model: Any) -> None:
    """Give each output a node of its own where onnx2torch would lose it: it returns one value for
    each *node* that makes outputs, and knows no output that is an input or a weight."""
    import onnx

    single = {node.output[0]: node for node in model.graph.node if len(node.output) == 1}
    for value in model.graph.output:
        if value.name in single:
            continue
        inner = f"{value.name}__handed_out"
        for node in model.graph.node:
            node.output[:] = [inner if name == value.name else name for name in node.output]
            node.input[:] = [inner if name == value.name else name for name in node.input]
        if not any(inner in node.output for node in model.graph.node):
            raise ConversionError(
                f"onnx2torch cannot return {value.name}, which is an input or a constant",
                hint="Use onnx2fx.torch.",
            )
        identity = onnx.helper.make_node("Identity", [inner], [value.name], f"{value.name}_out")
        model.graph.node.append(identity)


def _import() -> Any:
    try:
        import onnx2torch
        import onnx2torch.node_converters.registry
    except Exception as exc:  # torchvision built for another torch raises RuntimeError
        raise ConversionError(
            f"onnx2torch cannot be imported: {exc}",
            hint="It needs a torchvision that was built for the installed torch.",
        ) from exc
    return onnx2torch
