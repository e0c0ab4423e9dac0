"""Prepares a TFLite file for tf2onnx, which tells tensors and subgraphs apart by name only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact
from convkit_tf2onnx.tool import first_line

_IDENTIFIER = b"TFL3"


def read(path: Path) -> Any:
    """A mutable `ModelT`.

    Raises:
        InputError: not TFLite, or damaged.
    """
    data = path.read_bytes()
    if data[4:8] != _IDENTIFIER:
        raise InputError(f"{path.name} is not a TFLite file")
    try:
        from tensorflow.lite.python import schema_py_generated as schema
        from tensorflow.lite.tools.flatbuffer_utils import read_model_from_bytearray

        # TensorFlow's reader stumbles over a graph without operators, whose outputs are constants.
        packed = schema.Model.GetRootAsModel(data, 0)
        graphs = map(packed.Subgraphs, range(packed.SubgraphsLength()))
        if not all(graph.OperatorsLength() for graph in graphs):
            model = schema.ModelT.InitFromObj(packed)
            for graph in model.subgraphs:
                graph.operators = graph.operators or []
            return model
        return read_model_from_bytearray(bytearray(data))
    except Exception as exc:
        raise InputError(
            f"{path.name} is a damaged TFLite file: {first_line(exc)}",
            hint="Copy or convert it again.",
        ) from exc


def write(model: Any) -> bytes:
    """The bytes of a `ModelT`."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def layers(model: Any) -> Iterator[tuple[str, str]]:
    """(Operator type, layer name) of the main graph, then of subgraphs that loops and branches
    run. A layer bears the name of its first result, made unique as convkit's inspector does."""
    from tensorflow.lite.python import schema_py_generated as schema

    spelled = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [
        spelled.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        for code in model.operatorCodes
    ]
    for graph in model.subgraphs:
        names = _unique((tensor.name for tensor in graph.tensors), set())
        for op in graph.operators:
            yield codes[op.opcodeIndex], names[op.outputs[0]] if len(op.outputs) else ""


def tidy(model: Any, artifact: Artifact) -> tuple[dict[str, str], dict[str, str]]:
    """Give every tensor and subgraph a name of its own, in place.

    Returns:
        For inputs and outputs, in the artifact's order, the artifact's name to the tensor's.

    Raises:
        ConversionError: the file has no such inputs or outputs.
    """
    main = model.subgraphs[0]
    before = _unique((tensor.name for tensor in main.tensors), set())
    signature = next((s for s in model.signatureDefs or () if s.subgraphIndex == 0), None)
    taken: set[str] = set()
    for index, graph in enumerate(model.subgraphs):
        names = _unique((tensor.name for tensor in graph.tensors), taken)
        for tensor, name in zip(graph.tensors, names, strict=True):
            tensor.name = name.encode()
        graph.name = f"subgraph_{index}".encode()
    return (
        _ports("inputs", main, main.inputs, signature and signature.inputs, before, artifact),
        _ports("outputs", main, main.outputs, signature and signature.outputs, before, artifact),
    )


def _ports(
    what: str,
    graph: Any,
    indices: Sequence[int],
    signature: Sequence[Any] | None,
    before: Sequence[str],
    artifact: Artifact,
) -> dict[str, str]:
    named = {before[i]: i for i in indices}
    named.update({entry.name.decode(): entry.tensorIndex for entry in signature or ()})
    wanted = [spec.name for spec in getattr(artifact, what)]
    missing = [name for name in wanted if name not in named]
    if missing:
        raise ConversionError(
            f"{artifact.path.name} has the {what} {', '.join(named)} and not {', '.join(missing)}"
        )
    return {name: graph.tensors[named[name]].name.decode() for name in wanted}


def _unique(stored: Any, taken: set[str]) -> list[str]:
    """Names with the first free of `#1`, `#2`, ... where they are repeated; adds to `taken`."""
    result = []
    for index, data in enumerate(stored):
        name = data.decode() if data else f"tensor_{index}"
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}#{number}"
        taken.add(candidate)
        result.append(candidate)
    return result
