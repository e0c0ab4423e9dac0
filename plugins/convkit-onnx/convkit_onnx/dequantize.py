"""`onnx.dequantize`: a model of integers written out in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, Obstacle, State

_OPSET = 11
_REMEDY = "Start from the float model that it was quantized from, if there is one."


class Dequantize(ConverterBase):
    """For tools that have no integers, or not these operators: weights become float32, and each
    step of the integers a rounding. The result computes what the integer model computes, in float;
    it is neither smaller nor faster than a float model."""

    name: str = "onnx.dequantize"
    source: State = State("onnx", "int8")
    target: State = State("onnx")
    requirements: tuple[str, ...] = ("onnx", "numpy")
    seconds: float = 1.0
    widens: bool = True

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Operators of integers that are not written in float: some of ONNX Runtime's own, and any
        inside a loop or branch."""
        from convkit_onnx import layers, reading
        from convkit_onnx.half import inside
        from convkit_onnx.integer_free import REWRITES

        model = reading.load_graph(artifact.path)
        found: dict[str, list[str]] = {}
        for name, node in layers.named_nodes(model):
            if _is_of_integers(node) and node.op_type not in REWRITES:
                found.setdefault(node.op_type, []).append(name)
            for inner in inside(node):
                if _is_of_integers(inner):
                    found.setdefault(f"{inner.op_type} inside {node.op_type}", []).append(name)
        return tuple(Obstacle(what, tuple(n), _REMEDY) for what, n in found.items())

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Write the model in float; see `Converter`.

        Raises:
            ConversionError: a step of the integers cannot be told from the file.
        """
        from convkit_onnx import reading, writing
        from convkit_onnx.integer_free import rewrite
        from convkit_onnx.whole_numbers import Unsupported
        from convkit_onnx.widen import describe_widened, widen

        context.progress("loading", None)
        model = reading.load(artifact.path)
        context.progress("writing the integers in float", None)
        widen(model)
        try:
            model = _typed(model)
            rewrite(model)
        except Unsupported as exc:
            raise ConversionError(f"cannot write in float: {exc}", hint=_REMEDY) from exc
        context.progress("writing", None)
        writing.save(model, output, artifact.path.parent)
        return describe_widened(artifact, output, model, self.target)


class DequantizeDynamic(Dequantize):
    """The same of a model that finds its scales at run time."""

    name: str = "onnx.dequantize-dynamic"
    source: State = State("onnx", "int8-dynamic")


class DequantizeWeights(Dequantize):
    """The same of a model whose weights alone are integers."""

    name: str = "onnx.dequantize-weights"
    source: State = State("onnx", "int8-weights")


def _typed(model: Any) -> Any:
    """The model in an operator set that can round, with the types of its tensors as far as they
    can be inferred.

    Raises:
        Unsupported: it cannot be brought to that operator set.
    """
    import onnx

    from convkit_onnx import reading
    from convkit_onnx.whole_numbers import Unsupported

    if any(o.domain in ("", "ai.onnx") and o.version < _OPSET for o in model.opset_import):
        try:
            model = onnx.version_converter.convert_version(model, _OPSET)
        except Exception as exc:  # the tool lets several types through
            what = f"opset {_OPSET}, the first that can round, is out of reach"
            raise Unsupported(f"{what}: {reading.first_line(exc)}") from exc
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # above 2 GiB, say: the file's own types have to do
        return model


def _is_of_integers(node: Any) -> bool:
    from convkit_onnx import integers

    return (
        node.op_type in integers.CONVERSIONS
        or integers.is_integer(node.op_type)
        or node.op_type == "MatMulNBits"
    )
