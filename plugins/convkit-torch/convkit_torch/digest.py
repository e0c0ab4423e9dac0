"""The canonical digest of an exported program: equal programs, equal digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def program_digest(program: ExportedProgram) -> str:
    """sha256 over graph code, module paths, value shapes, signature, ranges and weights.

    Stack traces, source paths, example inputs and the order of weights in the file do not count,
    so saving the same program twice, on two machines, gives the same digest.
    """
    import torch

    digest = hashlib.sha256()
    for name, module in program.graph_module.named_modules():
        if isinstance(module, torch.fx.GraphModule):
            digest.update(f"module {name}\n{module.code}\n".encode())
            for node in module.graph.nodes:
                digest.update(f"{node.name} {_scope(node)} {_values(node)}\n".encode())
    digest.update(str(program.graph_signature).encode())
    ranges = sorted((str(k), str(v)) for k, v in program.range_constraints.items())
    digest.update(repr((ranges, str(program.call_spec))).encode())
    _hash_tensors(digest, program.state_dict)
    _hash_tensors(digest, program.constants)
    return digest.hexdigest()


def _scope(node: Any) -> list[str]:
    # Module paths decide the names of layers in exported files; class names do not.
    return [str(path) for path, *_ in (node.meta.get("nn_module_stack") or {}).values()]


def _values(node: Any) -> list[str]:
    from torch.utils import _pytree as pytree

    leaves = pytree.tree_leaves(node.meta.get("val"))
    return [f"{getattr(v, 'dtype', '')}{tuple(getattr(v, 'shape', ()))}" for v in leaves]


def _hash_tensors(digest: Any, tensors: Mapping[str, Any]) -> None:
    import torch

    for name in sorted(tensors):
        value = tensors[name]
        digest.update(name.encode())
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(_bytes(value))
        else:
            digest.update(type(value).__qualname__.encode())


def _bytes(tensor: torch.Tensor) -> Any:
    import torch

    plain = tensor.detach().to("cpu").contiguous()
    array: Any = plain.reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)
