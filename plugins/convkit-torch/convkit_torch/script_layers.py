"""Layers of a TorchScript module, which does not keep them: seen while it runs once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from convkit.plugin import LayerInfo

if TYPE_CHECKING:
    import torch

DYNAMIC = "hybrid-int8"
"""Integer weights meet float activations, which the kernel quantizes while it runs."""

_MARK = "_convkit_name"
_WITHOUT_WORK = frozenset({"detach", "alias", "_to_copy", "lift_fresh_copy"})
_CELLS = {"quantized_lstm": "lstm", "quantized_gru": "gru"}


def run(
    module: Any, inputs: Sequence[torch.Tensor], names: Sequence[str]
) -> tuple[tuple[LayerInfo, ...], Any]:
    """The operators that one inference calls, in order of execution, and its result.

    Composite operators show as what they are made of: a Linear layer is `aten.addmm`. What works
    on weights alone is left out.

    Args:
        names: of the inputs.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    found: list[LayerInfo] = []
    counts: Counter[str] = Counter()

    class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            operands = [t for t in _leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
            sources = [getattr(t, _MARK) for t in operands if hasattr(t, _MARK)]
            results = [t for t in _leaves(result) if isinstance(t, torch.Tensor)]
            if not sources or not results:
                return result
            kind = func._schema.name.rpartition("::")[2]
            name = _marked(results, sources[0] if kind in _WITHOUT_WORK else _next(counts, kind))
            if kind not in _WITHOUT_WORK:
                found.append(_layer(func, kind, name, args, operands, sources, results))
            return result

    marked = [tensor.detach() for tensor in inputs]
    for tensor, name in zip(marked, names, strict=True):
        setattr(tensor, _MARK, name)
    with torch.no_grad(), Recorder():  # type: ignore[no-untyped-call]
        result = module(*marked)
    return tuple(found), result


def _next(counts: Counter[str], kind: str) -> str:
    """`addmm`, `addmm_1`, `addmm_2`: as torch.export names the nodes of a graph."""
    counts[kind] += 1
    return kind if counts[kind] == 1 else f"{kind}_{counts[kind] - 1}"


def _marked(results: Sequence[Any], name: str) -> str:
    """A tensor keeps its attributes for as long as it lives, also inside TorchScript."""
    for place, tensor in enumerate(results):
        setattr(tensor, _MARK, f"{name}:{place}" if place else name)
    return name


def _layer(
    func: Any,
    kind: str,
    name: str,
    args: Sequence[Any],
    operands: Sequence[Any],
    sources: Sequence[str],
    results: Sequence[Any],
) -> LayerInfo:
    from convkit_torch.layers import multiply_accumulates, op_type

    matrices = [w for packed in _packed((args,)) for w in unpacked(packed)]
    shapes = [_shape(argument) for argument in args[:3]]
    if matrices and len(shapes) > 1 and not kind.startswith("quantized_"):
        shapes[1] = tuple(matrices[0].shape)
    constants = [t for t in operands if not hasattr(t, _MARK)]
    spelled = _CELLS.get(kind, kind).removeprefix("_")
    if spelled == "convolution" and len(args) > 6 and args[6]:  # the flag `transposed`
        spelled = "conv_transpose"
    listed = [_shape(w) for w in args[2]] if _is_list(args[2:3]) else []
    return LayerInfo(
        name=name,
        op_type=op_type(func),
        inputs=tuple(dict.fromkeys(sources)),
        outputs=tuple(getattr(tensor, _MARK) for tensor in results),
        macs=multiply_accumulates(
            spelled,
            [*shapes, *[()] * (3 - len(shapes))],
            results[0].shape,
            [tuple(w.shape) for w in matrices] or listed,
        ),
        parameter_count=sum(t.numel() for t in (*constants, *matrices)),
        compute=_compute(func, results[0]),
    )


def _compute(func: Any, result: Any) -> str:
    from convkit_torch.signature import dtype_name

    name = str(func._schema.name)
    if name in ("aten::quantized_lstm", "aten::quantized_gru") or (
        name.startswith("quantized::") and "_dynamic" in name
    ):
        return DYNAMIC
    return dtype_name(result.dtype).replace("qint", "int").replace("quint", "uint")


def integer_weights(module: Any) -> Iterator[torch.Tensor]:
    """Matrices of integers that the module holds as packed weights, each once."""
    graph = module.inlined_graph  # nodes live as long as their graph
    holders: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for node in graph.findAllNodes("prim::GetAttr"):
        owner = node.inputsAt(0).debugName()
        held = getattr(holders.get(owner, module), node.s("name"))
        path = f"{owner}.{node.s('name')}"
        holders[node.output().debugName()] = held
        found[path] = held
    for held in _packed(found.values()):
        yield from unpacked(held)


def unpacked(packed: Any) -> list[Any]:
    """Matrices of integers inside one of torch's objects of packed weights; none in any other."""
    try:
        if hasattr(packed, "unpack"):
            weight = packed.unpack()[0]
            return [weight] if weight.is_quantized else []  # else of half precision
        state = packed.__getstate__()
        return [w for inner in _packed((state,)) for w in unpacked(inner)]
    except Exception:  # objects of other libraries answer to anything
        return []


def _packed(values: Iterable[Any]) -> Iterator[Any]:
    import torch

    for value in _leaves(tuple(values)):
        if isinstance(value, torch.ScriptObject):
            yield value


def _leaves(value: Any) -> list[Any]:
    from torch.utils import _pytree as pytree

    return list(pytree.tree_leaves(value))


def _shape(argument: Any) -> tuple[int, ...]:
    import torch

    return tuple(argument.shape) if isinstance(argument, torch.Tensor) else ()


def _is_list(arguments: Sequence[Any]) -> bool:
    return bool(arguments) and isinstance(arguments[0], list | tuple)
