"""`onnxruntime.fp16`: weights and arithmetic in float16, inputs and outputs in float32."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError, UsageError, did_you_mean
from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, Obstacle, Option, State

if TYPE_CHECKING:
    import onnx

# ONNX Runtime has no kernel for them in float16, or none on the CPU, beyond those that its own
# list spares. What the standard forbids in float16 is found in the operators' schemas.
_NO_KERNEL = frozenset({"BitCast", "EyeLike", "MeanVarianceNormalization"})
_NO_KERNEL_REDUCING = frozenset({"ScatterElements", "ScatterND"})

_CAST_OPSET = 13

_LARGEST = 65504.0
_DISGUISED = 1e30

# The tool itself keeps those of their inputs in float32 that have to be.
_HANDLED = frozenset({"Resize", "GroupNorm", "SkipGroupNorm"})


class Half(ConverterBase):
    """By `onnxruntime.transformers.float16`.

    Weights beyond float16 (65504) are clipped, which verification sees. Activations beyond it
    become infinite on hardware that computes in float16; ONNX Runtime on the CPU computes most
    operators in float32 all the same, so that verification would miss it. Hence the probe.
    """

    name: str = "onnxruntime.fp16"
    source: State = State("onnx")
    target: State = State("onnx", "fp16")
    requirements: tuple[str, ...] = ("onnx", "onnxruntime")
    loss: int = 1
    seconds: float = 3.0
    options: tuple[Option, ...] = (
        Option("keep_float", "", "types of operators that stay in float32, as in Softmax,Pow"),
        Option("probe", True, "run once on random inputs; what passes 65504 stays in float32"),
    )

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Operators without float16 inside a loop or branch, where the tool puts casts astray."""
        from convkit_onnx import layers, reading

        model = _typed(reading.load_light(artifact.path))
        stays = Spared(model, str(options["keep_float"]))
        found: dict[str, list[str]] = {}
        for layer, node in layers.named_nodes(model):
            for inner in inside(node):
                if stays.in_float(inner) and stays.touches_float(inner):
                    found.setdefault(f"{inner.op_type} inside {node.op_type}", []).append(layer)
        remedy = "Keep the model in float32, or unroll the loop or branch."
        return tuple(Obstacle(w, tuple(dict.fromkeys(n)), remedy) for w, n in found.items())

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Convert; see `Converter`.

        Raises:
            ConversionError: the tool failed, or ONNX Runtime does not accept what it made.
        """
        from convkit_onnx import reading, runner, writing
        from convkit_onnx.result import describe
        from convkit_onnx.sorting import sort_nodes

        obstacles = self.check(artifact, options)
        if obstacles:
            raise ConversionError(
                f"cannot make {', '.join(o.what for o in obstacles)} float16",
                hint=obstacles[0].remedy,
            )
        context.progress("loading", None)
        model = _typed(reading.load_light(artifact.path))
        reading.load_weights(model, artifact.path.parent)
        too_large: frozenset[str] = frozenset()
        if options["probe"]:
            context.progress("looking for values beyond float16", None)
            too_large = beyond_half(artifact, context.seed, context.threads)
        stays = Spared(model, str(options["keep_float"]))
        context.progress("converting to float16", None)
        try:
            from onnxruntime.transformers.float16 import convert_float_to_float16

            half = convert_float_to_float16(
                model,
                keep_io_types=True,
                disable_shape_infer=True,  # done already, without the weights
                op_block_list=sorted(stays.types),
                node_block_list=stays.name_nodes(too_large),
            )
            _undo_round_trips(half.graph)
            sort_nodes(half.graph)
            if all(o.domain not in ("", "ai.onnx") for o in half.opset_import):
                half.opset_import.add(domain="", version=_CAST_OPSET)  # a model of ai.onnx.ml only
        except Exception as exc:  # the tool raises any type, AssertionError among them
            raise ConversionError(
                f"the float16 converter failed: {reading.first_line(exc)}",
                hint="Simplifying first may help: --via onnxslim.simplify.",
            ) from exc
        context.progress("writing", None)
        writing.save(half, output, artifact.path.parent)
        context.progress("loading the result in ONNX Runtime", None)
        try:
            runner.load(output, context.threads, plain=True)
        except ConversionError:
            output.unlink()
            output.with_name(output.name + writing.DATA_SUFFIX).unlink(missing_ok=True)
            raise
        return describe(artifact, output, half, self.target)


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types of its tensors, as far as ONNX can infer them."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # the tool then does with what the file says itself
        return model


def inside(node: Any) -> Iterator[Any]:
    """Nodes of a node's own subgraphs, at any depth."""
    from convkit_onnx.reading import graphs

    for attribute in node.attribute:
        bodies = [attribute.g] if attribute.HasField("g") else []
        for body in (*bodies, *attribute.graphs):
            for graph in graphs(body):
                yield from graph.node


def beyond_half(artifact: Artifact, seed: int, threads: int) -> frozenset[str]:
    """Tensors that pass the range of float16 on random inputs; none where the model cannot be run
    on such. Minus infinity in disguise, as masks use it, may become infinite."""
    import numpy as np

    from convkit_onnx.tracing import trace

    rng = np.random.default_rng(seed)
    inputs = []
    for spec in artifact.inputs:
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in spec.shape]
        if spec.dtype.startswith("float"):
            inputs.append(rng.random(shape).astype(spec.dtype))
        else:
            inputs.append(rng.integers(0, 2, shape).astype(spec.dtype or "int64"))
    try:
        return frozenset(
            traced.tensor
            for traced in trace(artifact, inputs, threads)
            if _LARGEST < float(np.abs(traced.value).max(initial=0)) < _DISGUISED
        )
    except ConversionError:
        return frozenset()


def _undo_round_trips(graph: Any) -> None:
    """Let a float32 tensor that the tool casts to float16 and back be read directly: between two
    spared operators nothing is to be lost."""
    from onnx import TensorProto

    casts = [node for node in graph.node if node.op_type == "Cast"]
    targets = {
        node.output[0]: next(a.i for a in node.attribute if a.name == "to") for node in casts
    }
    narrowed = {
        node.output[0]: node.input[0] for node in casts if node.name.endswith("_cast_to_fp16_node")
    }
    for node in casts:
        if targets[node.output[0]] == TensorProto.FLOAT and node.input[0] in narrowed:
            node.input[0] = narrowed[node.input[0]]


class Spared:
    """What must stay in float32: what the tool and the user list, and what float16 is not defined
    for.

    Attributes:
        types: operator types.
    """

    def __init__(self, model: onnx.ModelProto, keep_float: str) -> None:
        """`model` is one from `_typed`.

        Raises:
            UsageError: an operator that the model does not have is to be kept.
        """
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

        from convkit_onnx import reading

        asked = {name.strip() for name in keep_float.split(",") if name.strip()}
        present = {n.op_type for graph in reading.graphs(model.graph) for n in graph.node}
        for name in sorted(asked - present):
            raise UsageError(
                f"keep_float names {name}, and the model has no such operator",
                hint=did_you_mean(name, sorted(present)),
            )
        self.types = {*DEFAULT_OP_BLOCK_LIST, *_NO_KERNEL, *asked}
        self._model = model
        self._versions = {o.domain: o.version for o in model.opset_import}
        kinds: dict[str, int] = {}
        for graph in reading.graphs(model.graph):
            for value in (*graph.input, *graph.output, *graph.value_info):
                kinds[value.name] = value.type.tensor_type.elem_type
            for tensor in graph.initializer:
                kinds[tensor.name] = tensor.data_type
        self._floats = {name for name, kind in kinds.items() if kind == 1}

    def in_float(self, node: Any) -> bool:
        """Whether a node must stay in float32."""
        if node.op_type in self.types:
            return True
        if node.op_type in _NO_KERNEL_REDUCING:
            return any(a.name == "reduction" and a.s not in (b"", b"none") for a in node.attribute)
        return node.op_type not in _HANDLED and self._forbidden(node)

    def touches_float(self, node: Any) -> bool:
        """Whether a node reads or writes float32 tensors."""
        return any(name in self._floats for name in (*node.input, *node.output))

    def name_nodes(self, too_large: Collection[str] = ()) -> list[str]:
        """The nodes of the main graph that are spared for themselves and not for their type, by
        names that they are given where they have none of their own.

        Args:
            too_large: tensors that float16 cannot hold; what makes or reads them is spared.
        """
        from convkit_onnx.layers import named_nodes

        spared = [
            (layer, node)
            for layer, node in named_nodes(self._model)
            if node.op_type not in self.types
            and (self.in_float(node) or not {*node.input, *node.output}.isdisjoint(too_large))
        ]
        for layer, node in spared:
            node.name = layer
        return [layer for layer, _ in spared]

    def _forbidden(self, node: Any) -> bool:
        """Whether a tensor of the node is float32 and by the operator's schema cannot be half."""
        import onnx

        version = self._versions.get(node.domain or "", self._versions.get("ai.onnx", 0))
        try:
            schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        except Exception:  # of another domain: ONNX Runtime will tell
            return False
        allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
        for names, formals in ((node.input, schema.inputs), (node.output, schema.outputs)):
            for index, name in enumerate(names):
                formal = formals[min(index, len(formals) - 1)].type_str if formals else ""
                types = allowed.get(formal, [formal])
                if name in self._floats and formal and "tensor(float16)" not in types:
                    return True
        return False
