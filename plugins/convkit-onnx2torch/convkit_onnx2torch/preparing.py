"""Rewrite an ONNX graph so that importers and torch.export can follow it, the numbers untouched.

Names become plain identifiers (importers turn `a.b` and `a_b` into the same attribute), local
functions are inlined, uneven padding is written out, and what is known before any input comes is
worked out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convkit_onnx2torch import deconvolution
from convkit_onnx2torch.folding import fold
from convkit_onnx2torch.graphs import copied, domain_of, graphs, inferred, values

_UNFIT = re.compile(r"\W", re.ASCII)
_UNSAFE_IN_PATHS = re.compile(r"[\"'\\\r\n]")


@dataclass(frozen=True)
class Prepared:
    """A model ready to be imported.

    Attributes:
        model: the rewritten ModelProto; its nodes bear the names that the inspector gives them.
        input_names, output_names: name in the source to identifier, in the file's order.
        shapes: identifier of an input to its shape; open axes are symbols.
    """

    model: Any
    input_names: Mapping[str, str]
    output_names: Mapping[str, str]
    shapes: Mapping[str, tuple[int | str, ...]]

    @property
    def is_open(self) -> bool:
        """Whether any input has an axis of unknown size."""
        return any(isinstance(d, str) for shape in self.shapes.values() for d in shape)

    def opset(self, domain: str) -> int:
        """The version that the model imports for a domain."""
        wanted = domain_of(domain)
        return next(
            (int(o.version) for o in self.model.opset_import if domain_of(o.domain) == wanted), 1
        )


def prepare(
    model: Any, stated: Mapping[str, tuple[int, ...]], batch: int | None = None
) -> Prepared:
    """A rewritten copy of the model.

    Args:
        stated: sizes that the user gave, by the source's input names.
        batch: size of every first axis that is open; None leaves it open.
    """
    import onnx
    from onnx import inliner

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _name_layers(copy)
    if copy.functions:
        copy = inliner.inline_local_functions(copy)
    _drop_weights_from_inputs(copy)
    _give_optionals(copy)
    inputs = [value.name for value in copy.graph.input]
    outputs = [value.name for value in copy.graph.output]
    names = _identifiers(copy, inputs, outputs)
    _rename(copy, names)
    shapes = _set_sizes(copy, {names[k]: v for k, v in stated.items() if k in names}, batch)
    copy = _with_shapes(copy)
    deconvolution.write_out(copy, inferred(copy.graph))
    fold(copy)
    _drop_dead_nodes(copy)
    return Prepared(
        copy,
        {name: names[name] for name in inputs},
        {name: names[name] for name in outputs},
        shapes,
    )


def _name_layers(model: Any) -> None:
    """Give every node the name that the inspector reports: its own, made unique."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        if node.op_type != "Constant":
            name = name if name not in taken else f"{name}#{index}"
            taken.add(name)
        node.name = _UNSAFE_IN_PATHS.sub("_", name)


def _drop_weights_from_inputs(model: Any) -> None:
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _give_optionals(model: Any) -> None:
    """Make plain inputs of optional ones: convkit always gives a tensor, and the operators that ask
    for one take a tensor as well."""
    for value in model.graph.input:
        if value.type.HasField("optional_type"):
            inner = type(value.type)()
            inner.CopyFrom(value.type.optional_type.elem_type)
            value.type.CopyFrom(inner)


def _identifiers(model: Any, inputs: list[str], outputs: list[str]) -> dict[str, str]:
    """A plain identifier for every value: close to its name at the border, a number inside."""
    import keyword

    names = {"": ""}
    taken: set[str] = set()
    for name in (*inputs, *outputs):
        plain = _UNFIT.sub("_", name)
        if not plain or plain[0].isdigit() or keyword.iskeyword(plain):
            plain = f"t_{plain}"
        unique, count = plain, 1
        while name not in names and unique in taken:
            unique, count = f"{plain}_{count}", count + 1
        taken.add(names.setdefault(name, unique))
    for graph in graphs(model.graph):
        for name in values(graph):
            if name not in names:
                # A prefix that no border name has by chance.
                names[name] = f"inner__{len(names)}"
    return names


def _rename(model: Any, names: Mapping[str, str]) -> None:
    for graph in graphs(model.graph):
        for node in graph.node:
            node.input[:] = [names[name] for name in node.input]
            node.output[:] = [names[name] for name in node.output]
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = names[value.name]
        for sparse in graph.sparse_initializer:
            sparse.values.name = names[sparse.values.name]
        # Inferred again below; what the file says may be stale.
        del graph.value_info[:]
        del graph.quantization_annotation[:]


def _set_sizes(
    model: Any, stated: Mapping[str, tuple[int, ...]], batch: int | None
) -> dict[str, tuple[int | str, ...]]:
    """Write the sizes into the inputs; the same symbol takes the same size everywhere."""
    sizes: dict[str, int] = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis, dim in enumerate(dims):
            if not dim.HasField("dim_value") or dim.dim_value < 0:
                dim.dim_param = dim.dim_param or f"{value.name}_{axis}"
                if value.name in stated and axis < len(stated[value.name]):
                    sizes.setdefault(dim.dim_param, stated[value.name][axis])
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param and axis == 0 and batch is not None:
                sizes.setdefault(dim.dim_param, batch)
    shapes = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim in dims:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
        shapes[value.name] = tuple(d.dim_param or int(d.dim_value) for d in dims)
    return shapes


def _with_shapes(model: Any) -> Any:
    """The model with inferred shapes, as far as onnx knows them."""
    import onnx

    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")  # it may name symbols that have a size now
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # above 2 GiB, or types that do not fit: do without
        return model


def _drop_dead_nodes(model: Any) -> None:
    """Remove nodes and initializers that no output needs."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(copied(node))
            needed.update(node.input)
            for attribute in node.attribute:
                for inner in (
                    *([attribute.g] if attribute.HasField("g") else []),
                    *attribute.graphs,
                ):
                    needed.update(name for g in graphs(inner) for name in values(g))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)
