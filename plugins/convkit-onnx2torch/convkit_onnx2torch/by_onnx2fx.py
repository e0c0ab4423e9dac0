"""`onnx2fx.torch`: by onnx2fx, which knows most of ONNX up to opset 25."""

from __future__ import annotations

from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import State
from convkit_onnx2torch.importer import Importer


class ByOnnx2Fx(Importer):
    """The wider importer; layers lose their module paths, since it writes plain functions."""

    name: str = "onnx2fx.torch"
    requirements: tuple[str, ...] = ("onnx2fx", "torch", "onnx")
    seconds: float = 9.0

    def missing(self, node: Any, opset: int) -> str:
        """See `Importer.missing`."""
        from onnx2fx.op_registry import get_handler

        _import()
        if get_handler(node.op_type, node.domain, opset) is not None:
            return ""
        return described(node, opset)

    def build(self, model: Any) -> Any:
        """See `Importer.build`."""
        return _import().convert(model)


class ByOnnx2FxFp16(ByOnnx2Fx):
    """The same for models in half precision, which stay so."""

    name: str = "onnx2fx.torch-fp16"
    source: State = State("onnx", "fp16")
    target: State = State("torch", "fp16")


def _import() -> Any:
    try:
        import onnx2fx
    except Exception as exc:
        raise ConversionError(
            f"onnx2fx cannot be imported: {exc}", hint="Install convkit-onnx2torch again."
        ) from exc
    return onnx2fx


def described(node: Any, opset: int) -> str:
    """An operator as people name it: `Erf`, `com.microsoft.Gelu`."""
    domain = node.domain and f"{node.domain}."
    return f"{domain}{node.op_type} of opset {opset}"
