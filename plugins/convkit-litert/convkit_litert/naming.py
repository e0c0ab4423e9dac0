"""Readable names for the tensors of a converted torch program.

litert-torch names a tensor after the classes of the modules around it
(`pkg.Net/pkg.Stem_stem/torch.nn.modules.conv.Conv2d_conv;2`, often several joined). Those names
are what a user types to keep a layer in float, and they take up a tenth of a quantized file, so
they are replaced by the module's path and the operator: `stem.conv/conv_2d`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convkit.errors import ConversionError
from convkit_litert.model import unique_name

_MAC_OPERATORS = ("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")


def module_paths(program: Any) -> dict[str, str]:
    """litert-torch's spelling of each place in an exported program, to the module's path.

    Args:
        program: a `torch.export.ExportedProgram`.
    """
    paths: dict[str, str] = {}
    for node in program.graph.nodes:
        spelled = ""
        for path, kind in node.meta.get("nn_module_stack", {}).values():
            attribute = f"_{path.rpartition('.')[2]}" if path else ""
            spelled += ("/" if spelled else "") + _class_name(kind) + attribute
            paths[spelled] = path
    return paths


def _class_name(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    return str(
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def rename(
    model: Any, paths: Mapping[str, str], inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Name everything in a freshly converted `ModelT`, in place.

    Inputs and outputs are named as in the source, in the signature and as tensors; constants
    after the first operator that takes them and the place in its operands.

    Args:
        paths: from `module_paths`.
        inputs, outputs: the source's names, in the program's order.

    Raises:
        ConversionError: if the converted model has other inputs or outputs than the source.
    """
    graph = model.subgraphs[0]
    codes = _operator_names(model)
    taken: set[str] = set()
    named: dict[int, str] = {}

    def name(index: int, wanted: str) -> None:
        if index >= 0 and index not in named:
            named[index] = unique_name(wanted, taken)

    _name_signature(model, inputs, outputs, name)
    for operator in graph.operators:
        kind = codes[operator.opcodeIndex]
        for index in operator.outputs:
            name(index, _place(graph.tensors[index].name.decode(), kind, paths) + kind.lower())
        owner = named[operator.outputs[0]] if len(operator.outputs) else kind.lower()
        for place, index in enumerate(operator.inputs):
            if index >= 0 and model.buffers[graph.tensors[index].buffer].data is not None:
                name(index, f"{owner}:{place}")
    for index, tensor in enumerate(graph.tensors):
        name(index, f"tensor_{index}")
        tensor.name = named[index].encode()
    for number, other in enumerate(model.subgraphs[1:], 1):
        for index, tensor in enumerate(other.tensors):
            tensor.name = unique_name(f"subgraph_{number}/tensor_{index}", taken).encode()


def _name_signature(model: Any, inputs: Sequence[str], outputs: Sequence[str], name: Any) -> None:
    """Write the signature anew: litert-torch sorts its entries by name (`output_10` before
    `output_2`), while the graph's own lists keep the program's order, repetitions included."""
    from ai_edge_litert import schema_py_generated as schema

    if not model.signatureDefs or len(model.signatureDefs) != 1:
        raise ConversionError("litert-torch wrote a file without the one signature asked for")
    signature, graph = model.signatureDefs[0], model.subgraphs[0]
    for what, indices, names in (
        ("inputs", graph.inputs, inputs),
        ("outputs", graph.outputs, outputs),
    ):
        if len(indices) != len(names):
            raise ConversionError(
                f"litert-torch made {len(indices)} {what} of the program's {len(names)}",
                hint="Choose another road, for example --via tf-saved.",
            )
        public: set[str] = set()
        entries = []
        for index, wanted in zip(indices, names, strict=True):
            entry = schema.TensorMapT()
            entry.tensorIndex, entry.name = index, unique_name(wanted, public).encode()
            entries.append(entry)
            name(index, wanted)
        setattr(signature, what, entries)


def _place(raw: str, kind: str, paths: Mapping[str, str]) -> str:
    """The module path of a tensor and a slash; empty at the top level."""
    spelled = [part for part in raw.split(";") if part in paths]
    if kind in _MAC_OPERATORS:
        # A convolution that took in its normalization bears both names; it is the convolution.
        spelled = [s for s in spelled if "norm" not in _leaf_class(s).lower()] or spelled
    path = paths[spelled[0]] if spelled else ""
    return f"{path}/" if path else ""


def _leaf_class(spelled: str) -> str:
    return spelled.rpartition("/")[2].rpartition(".")[2].partition("_")[0]


def _operator_names(model: Any) -> list[str]:
    from ai_edge_litert import schema_py_generated as schema

    known = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    return [known[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
