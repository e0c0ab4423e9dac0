"""An exported program to the bytes of a `.pte`, through XNNPACK."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact
from convkit_executorch import tensors

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_NOT_CORE = re.compile(r"Operator torch\._ops\.(\S+) is not in Core ATen")
_NO_OUT = re.compile(r"Missing out variants?:\s*(.+)")
_REWRITE = "Rewrite that part of the model, or take another format."


def load(path: Path) -> ExportedProgram:
    """The program. The inspector of the format has read this very file before, and refuses one
    that would run code when it is loaded.

    Raises:
        InputError: damaged.
    """
    import torch

    try:
        return torch.export.load(str(path))
    except Exception as exc:  # any type on malformed archives
        raise InputError(f"torch cannot load {path.name}: {first_line(exc)}") from exc


def has_control_flow(program: ExportedProgram) -> bool:
    """Whether it branches or loops on values."""
    import torch

    return any(
        isinstance(node.target, torch._ops.HigherOrderOperator)
        and node.target.__name__ in ("cond", "while_loop", "map_impl", "scan")
        for node in program.graph.nodes
    )


def user_tensors(program: ExportedProgram) -> Iterator[Any]:
    """Fake tensors of the inputs, in the program's order."""
    import torch

    wanted = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            value = node.meta.get("val")
            if isinstance(value, torch.Tensor):
                yield value


def input_order(artifact: Artifact, program: ExportedProgram) -> tuple[int, ...]:
    """For each tensor input of the program its place among the artifact's: by name, else by
    position."""
    import torch

    wanted = set(program.graph_signature.user_inputs)
    names = [
        node.name
        for node in program.graph.nodes
        if node.op == "placeholder"
        and node.name in wanted
        and isinstance(node.meta.get("val"), torch.Tensor)
    ]
    told = [spec.name for spec in artifact.inputs]
    if len(told) != len(names):
        raise ConversionError(f"the program takes {len(names)} tensors, {len(told)} are described")
    if sorted(told) == sorted(names):
        return tuple(told.index(name) for name in names)
    return tuple(range(len(names)))


def lower(
    program: ExportedProgram, artifact: Artifact, order: Sequence[int], largest: int
) -> bytes:
    """Delegate to XNNPACK what it takes, leave the rest to portable kernels, plan the memory.

    Args:
        artifact: the source, whose names and open axes are kept in the file.
        order: for each tensor input of the program its place among the artifact's.
        largest: size that an axis without a limit of its own may have at most.

    Raises:
        ConversionError: an operator that ExecuTorch lacks.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import ExecutorchBackendConfig, to_edge, to_edge_transform_and_lower

    from convkit_executorch.bounds import Bounds

    text = tensors.to_text([artifact.inputs[i] for i in order], artifact.outputs)
    methods = {tensors.METHOD: text}
    bounds = Bounds.of(program, largest)
    try:
        if has_control_flow(program):
            # The shorter road keeps Linear whole for XNNPACK, in branches too, which nobody
            # delegates afterwards.
            edge = to_edge(program, constant_methods=methods).to_backend(XnnpackPartitioner())
        else:
            edge = to_edge_transform_and_lower(
                program, partitioner=[XnnpackPartitioner()], constant_methods=methods
            )
        config = ExecutorchBackendConfig(sym_shape_eval_pass=bounds.evaluation())
        return bytes(edge.to_executorch(config).buffer)
    except Exception as exc:  # any type, from deep inside of several passes
        raise ConversionError(_reason(exc), hint=_REWRITE) from exc


def _reason(exc: BaseException) -> str:
    text = str(exc)
    lacking = list(dict.fromkeys(name.removesuffix(".default") for name in _NOT_CORE.findall(text)))
    if lacking:
        return f"ExecuTorch has no kernel for {', '.join(lacking)}"
    out = _NO_OUT.search(text)
    if out:
        return f"ExecuTorch has no kernel for {out[1].strip(' {}').replace(chr(39), '')[:200]}"
    return f"ExecuTorch cannot lower this program: {first_line(exc)}"


def prove(data: bytes, program: ExportedProgram, threads: int) -> None:
    """Run the result once: some kernels refuse what they were given only then.

    Raises:
        ConversionError: it cannot be loaded or run.
    """
    from convkit_executorch import runner
    from convkit_executorch.program import parse

    pte = parse(data)
    loaded = runner.method(pte, data, threads)
    runner.execute(pte, loaded, example_tensors(program))


def example_tensors(program: ExportedProgram) -> Sequence[Any]:
    """One tensor per input: the program's own examples where it carries them, else zeros, which are
    valid as indices and masks too."""
    import torch
    from torch.utils import _pytree as pytree

    fakes = list(user_tensors(program))
    if program.example_inputs is not None:
        leaves = pytree.tree_leaves(program.example_inputs)
        found = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if len(found) == len(fakes):
            return found
    return [
        torch.zeros([size_of(program, d) for d in fake.shape], dtype=fake.dtype) for fake in fakes
    ]


def size_of(program: ExportedProgram, dimension: Any) -> int:
    """A size that an axis may have; 2 for an open one, where that is allowed."""
    if isinstance(dimension, int):
        return dimension
    expression = dimension.node.expr
    chosen = {}
    for symbol in expression.free_symbols:
        bounds = program.range_constraints.get(symbol)
        low, high = (int(bounds.lower), bounds.upper) if bounds is not None else (2, 2)
        chosen[symbol] = int(min(max(low, 2), high))  # tracers take 0 and 1 for something special
    return int(expression.subs(chosen))


def first_line(exc: BaseException) -> str:
    """The first non-empty line of an exception's text, shortened."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__)[:300]
