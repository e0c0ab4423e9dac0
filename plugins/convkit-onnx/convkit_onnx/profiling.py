"""Which kernels ONNX Runtime runs for a model, from its own profile and its optimized graph."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, ExecutedLayer, ExecutionProfile

WARM_UP = 2
_EVENTS = 800_000
"""ONNX Runtime stops writing after a million."""
_KERNEL = "_kernel_time"
_DTYPES = {"float": "float32", "double": "float64"}
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
_INTEGER_INSIDE = frozenset({"DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
"""They take floats, and multiply integers that they made of them."""
_MOVES = frozenset({"ReorderInput", "ReorderOutput", "Transpose"})
_DECORATION = re.compile(r"(_nchwc|_token_\d+|/\w+Fusion/?|_quant)+$")
"""What graph transformers append to the names of nodes and tensors."""


def profile(
    runner: str, artifact: Artifact, inputs: Sequence[Any], threads: int, runs: int, folder: Path
) -> ExecutionProfile:
    """See `Profiler.profile`.

    Raises:
        ConversionError: ONNX Runtime cannot load or run the model.
        InputError, UnsafeError: its external data is missing or lies elsewhere.
    """
    from convkit_onnx import reading
    from convkit_onnx.runner import load

    model = reading.load_light(artifact.path)
    runs = max(1, min(runs, _EVENTS // max(1, len(model.graph.node))))
    optimized = folder / "optimized.onnx"
    session = load(artifact.path, threads, profile=folder / "profile", optimized=optimized)
    feeds = dict(zip((spec.name for spec in artifact.inputs), inputs, strict=True))
    names = [spec.name for spec in artifact.outputs]
    try:
        for _ in range(WARM_UP):
            session.run(names, feeds)
        start = time.perf_counter()
        for _ in range(runs):
            session.run(names, feeds)
        wall = (time.perf_counter() - start) / runs
    except Exception as exc:  # onnxruntime's exception types share no public base
        raise ConversionError(
            f"ONNX Runtime cannot run the model: {reading.first_line(exc)}"
        ) from exc
    events = json.loads(Path(session.end_profiling()).read_text())
    origins = _Origins(model, reading.load_graph(optimized))
    return ExecutionProfile(
        model="",
        runner=runner,
        layers=tuple(_layers(events, origins, runs)),
        runs=runs,
        wall_seconds=wall,
        notes=tuple(_notes(origins)),
    )


def _layers(events: Any, origins: _Origins, runs: int) -> Iterator[ExecutedLayer]:
    """One entry for each node of the optimized graph; what loops and branches run counts as
    theirs."""
    seen: dict[str, list[Mapping[str, Any]]] = {}
    for event in sorted(events, key=lambda e: e.get("ts", 0)):
        if event.get("cat") != "Node" or not event["name"].endswith(_KERNEL):
            continue
        name = event["name"].removesuffix(_KERNEL)
        if name in origins.main:
            # several nodes may have no name; their numbers tell them apart
            seen.setdefault(f"{event['args'].get('node_index', '')} {name}", []).append(event)
    for key, all_events in seen.items():
        name = key.partition(" ")[2]
        timed = all_events[-runs:]  # those of the warm-up come first
        args = timed[-1]["args"]
        kind = str(args.get("op_name", ""))
        yield ExecutedLayer(
            name=name or kind,
            op_type=kind,
            compute=_compute(kind, args),
            seconds=sum(event["dur"] for event in timed) / len(timed) / 1e6,
            kernel=str(args.get("provider", "")),
            layers=origins.of(name),
        )


def _compute(kind: str, args: Mapping[str, Any]) -> str:
    """The dtype of the first operand; conversions from and to integers are float work."""
    if kind in _CONVERSIONS:
        return "float32"
    if kind in _INTEGER_INSIDE:
        return "int8"
    for side in ("input_type_shape", "output_type_shape"):
        for entry in args.get(side) or ():
            return next((_DTYPES.get(name, str(name)) for name in entry), "")
    return ""


class _Origins:
    """From nodes of an optimized graph back to the layers of the model.

    A tensor that both graphs know divides the work: what lies between such tensors in the model was
    merged into the node that writes the later one. Where transformers renamed everything around a
    node, its own name leads back.

    Attributes:
        main: names of the optimized main graph's nodes.
    """

    def __init__(self, model: Any, optimized: Any) -> None:
        from convkit_onnx.layers import named_nodes

        self._layers = {name for name, _ in named_nodes(model)}
        self._producers = {
            tensor: (layer, node)
            for layer, node in named_nodes(model)
            for tensor in node.output
            if tensor
        }
        self.main = {node.name for node in optimized.graph.node}
        made = {node.name: self._made(node) for node in optimized.graph.node}
        shared = {tensor for tensors in made.values() for tensor in tensors}
        self._found: dict[str, tuple[str, ...]] = {}
        claimed: set[str] = set()
        for name, tensors in made.items():
            layers = self._between(tensors, shared)
            if not layers:
                own = _DECORATION.sub("", name)
                layers = [own] if own in self._layers else []
            self._found[name] = tuple(layer for layer in layers if layer not in claimed)
            claimed.update(layers)
        self.lost = len(self._layers) - len(claimed)

    def of(self, name: str) -> tuple[str, ...]:
        """The layers that a node stands for."""
        return self._found.get(name, ())

    def _made(self, node: Any) -> list[str]:
        """The model's tensors that a node computes."""
        if node.op_type in _MOVES and node.name not in self._layers:
            return []  # put in between, to change the layout of what another node computed
        known = [t for t in map(self._known, node.output) if t]
        # a node that computes in another layout is called after the tensor that it stands for
        return known or [t for t in (self._known(node.name),) if t]

    def _known(self, tensor: str) -> str:
        """A tensor's name in the model; empty where it has none."""
        plain = _DECORATION.sub("", tensor)
        return next((t for t in (tensor, plain) if t in self._producers), "")

    def _between(self, tensors: Sequence[str], shared: set[str]) -> list[str]:
        """Layers that lead to tensors, as far back as the next shared ones."""
        found: dict[str, None] = {}
        todo = list(tensors)
        while todo:
            layer, node = self._producers[todo.pop()]
            if layer in found:
                continue
            found[layer] = None
            todo += [t for t in node.input if t in self._producers and t not in shared]
        return list(reversed(found))


def _notes(origins: _Origins) -> Iterator[str]:
    yield "A kernel's type is that of its first operand, as ONNX Runtime's profile tells it."
    if origins.lost > 0:
        yield (
            f"{origins.lost} operators of the model are in no kernel that could be traced back: "
            "folded into constants, or merged under names of ONNX Runtime's own."
        )
