"""`torch.inspect`: what a torch file is, without running code that is inside it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.artifact import RANDOM, Trait
from convkit.errors import InputError, UsageError
from convkit.plugin import Inspection, LayerInfo, ReadOptions, State, TensorSpec
from convkit_torch import container

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_TOLD = re.compile(r"code/.*\.py$|(data|constants)(\.pkl$|/)")
_MANGLED = re.compile(rb"[./]___torch_mangle_(\d+)")


class TorchInspector:
    """Reads torch.export archives, TorchScript, state dicts and pickled modules."""

    name: str = "torch.inspect"
    format: str = "torch"
    requirements: tuple[str, ...] = ("torch",)

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """Read the file.

        Raises:
            InputError: truncated, damaged, or not a torch file.
            UnsafeError: pickled entries, or texts that torch would evaluate, without `read.trust`.
            UsageError: a state dict without `read.factory`; TorchScript, a pickled module or a
                factory without example inputs where `read.shapes` is empty.
            ConversionError: torch.export cannot capture the module.
        """
        from convkit_torch import reading

        kind = reading.container_of(path)
        if kind == container.TORCHSCRIPT:
            return _inspect_script(path, read)
        if kind in (container.PT2, container.PT2_OLD):
            program = reading.load_program(path, read)
            _check_open(program, path, read)
            return _inspect_program(program, "pt2")
        model = reading.load_eager(path, read)
        program = reading.export(model.module, model.examples, read.dynamic)
        return _inspect_program(program, model.container)


def _check_open(program: ExportedProgram, path: Path, read: ReadOptions) -> None:
    """What is fixed in an archive cannot be opened again.

    Raises:
        UsageError: an axis of `read.dynamic` has a fixed size, or does not exist.
    """
    from convkit_torch import dynamic_axes
    from convkit_torch.signature import program_specs

    inputs, _ = program_specs(program)
    for spec in inputs:
        axes = dynamic_axes.checked(spec.name, read.dynamic.get(spec.name, ()), len(spec.shape))
        fixed = [axis for axis in axes if isinstance(spec.shape[axis], int)]
        if fixed:
            raise UsageError(
                f"axis {fixed[0]} of {spec.name} has the fixed size {spec.shape[fixed[0]]} in "
                f"{path.name}",
                hint="An exported program cannot be opened again: give dynamic_shapes to "
                "torch.export.export, or convert from the state dict or the live module.",
            )


def _inspect_program(program: ExportedProgram, shown: str) -> Inspection:
    import torch

    from convkit_torch.chance import random_operators
    from convkit_torch.digest import program_digest
    from convkit_torch.layers import op_type, program_layers
    from convkit_torch.signature import is_dynamic, program_specs
    from convkit_torch.state import is_stateful

    inputs, outputs = program_specs(program)
    if not outputs:
        raise InputError("the program returns no tensor")
    tensors = {**program.state_dict, **program.constants}
    operators = Counter(
        op_type(node.target)
        for module in program.graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if node.op == "call_function"
    )
    traits: dict[str, Trait] = {"container": shown, "dynamic": is_dynamic((*inputs, *outputs))}
    if is_stateful(program):
        traits["stateful"] = True
    drawing = random_operators(program)
    if drawing:
        traits[RANDOM] = ", ".join(drawing)
    return Inspection(
        state=State("torch", _precision(tensors.values())),
        inputs=inputs,
        outputs=outputs,
        digest=program_digest(program),
        operators=dict(sorted(operators.items())),
        parameter_bytes=_parameter_bytes(tensors),
        layers=program_layers(program),
        traits=traits,
        producer="torch.export",
    )


def _inspect_script(path: Path, read: ReadOptions) -> Inspection:
    from convkit_torch import reading, script_file, script_layers, script_shapes
    from convkit_torch.signature import is_dynamic

    module = reading.load_script(path, read)
    described = script_file.read(path)
    if described is not None:
        inputs, outputs = described.inputs, described.outputs
        examples = script_file.examples(described)
    else:
        inputs = reading.script_inputs(module, read)
        outputs = script_shapes.outputs(module, inputs, path, read)
        examples = reading.example_tensors([spec.name for spec in inputs], read)
    layers, results = script_shapes.layers(module, inputs, examples, path)
    if described is not None:
        script_shapes.agree(outputs, results, path)
    tensors = dict(module.state_dict())
    packed = {str(i): w for i, w in enumerate(script_layers.integer_weights(module))}
    kinds = Counter(
        node.kind().replace("::", ".")
        for node in module.inlined_graph.nodes()
        if not node.kind().startswith("prim::")
    )
    return Inspection(
        state=State("torch", _script_precision(layers, tensors.values())),
        inputs=inputs,
        outputs=outputs,
        digest=_script_digest(path, inputs),
        operators=dict(sorted(kinds.items())),
        parameter_bytes=_parameter_bytes({**tensors, **packed}),
        layers=layers,
        traits={"container": "torchscript", "dynamic": is_dynamic((*inputs, *outputs))},
        producer="torch.jit",
    )


def _script_digest(path: Path, inputs: Iterable[TensorSpec]) -> str:
    """sha256 over code, pickles and tensors of the archive, debug information left out.

    torch numbers a class by a counter of the process that wrote the file; where there is but one
    such number, it does not count.
    """
    import zipfile

    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    told = {n: c for n, c in members.items() if _TOLD.match(n)}
    text = b"".join((n.encode() + c for n, c in told.items() if not n.startswith("data/")))
    if len(set(_MANGLED.findall(text))) == 1:
        told = {_plain(n.encode()).decode(): _plain(c) for n, c in told.items()}
    for inner in sorted(told):
        digest.update(f"{inner}\n".encode())
        digest.update(hashlib.sha256(told[inner]).digest())
    # The same file read at another shape converts to another model.
    digest.update(repr([(s.name, s.shape, s.dtype) for s in inputs]).encode())
    return digest.hexdigest()


def _plain(text: bytes) -> bytes:
    return _MANGLED.sub(b"", text)


def _script_precision(layers: Iterable[LayerInfo], tensors: Iterable[Any]) -> str:
    """By the multiply-accumulates: `int8-dynamic` or `int8` where most are in integers, told apart
    by where the scale of activations comes from; else as `_precision`."""
    from convkit_torch.script_layers import DYNAMIC

    work = [layer for layer in layers if layer.macs]
    integer = [layer for layer in work if "int8" in layer.compute]
    if 2 * sum(layer.macs for layer in integer) <= sum(layer.macs for layer in work):
        return _precision(tensors)
    dynamic = sum(layer.macs for layer in integer if layer.compute == DYNAMIC)
    return "int8-dynamic" if 2 * dynamic > sum(x.macs for x in integer) else "int8"


def _precision(tensors: Iterable[Any]) -> str:
    import torch

    floats = Counter[Any]()
    for tensor in tensors:
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            floats[tensor.dtype] += tensor.numel()
    half = floats[torch.float16] + floats[torch.bfloat16]
    return "fp16" if half > sum(floats.values()) - half else "fp32"


def _parameter_bytes(tensors: Mapping[str, Any]) -> dict[str, int]:
    import torch

    from convkit_torch.signature import dtype_name

    sizes = Counter[str]()
    for tensor in tensors.values():
        if isinstance(tensor, torch.Tensor):
            sizes[dtype_name(tensor.dtype)] += tensor.numel() * tensor.element_size()
    return dict(sorted(sizes.items()))
