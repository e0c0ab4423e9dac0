"""A digest of what a GraphDef computes: blind to node names, node order and function counters.

Two SavedModels of one program differ byte by byte (counters in function names, map order, a
fingerprint). Here each node is hashed with the hashes of its inputs, from placeholders, which
keep their names, to outputs, which keep theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

_LOOP_END = "NextIteration"
"""The one operator that closes a cycle in a graph with primitive loops."""


def canonical_digest(tf: Any, definition: Any, outputs: Sequence[tuple[str, str]]) -> str:
    """sha256 in hexadecimal.

    Args:
        definition: a flat GraphDef; its library may hold bodies of loops and branches.
        outputs: (public name, node or tensor name).
    """
    library = {f.signature.name: f for f in definition.library.function}
    hasher = _Hasher(tf, library)
    values = hasher.graph(definition.node, [tensor for _, tensor in outputs], {})
    parts = [f"{name}={value}" for (name, _), value in zip(outputs, values, strict=True)]
    return _sha(*sorted(parts))


def _sha(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


class _Hasher:
    def __init__(self, tf: Any, library: Mapping[str, Any]) -> None:
        self._tf = tf
        self._library = library
        self._functions: dict[str, str] = {}

    def graph(
        self, nodes: Sequence[Any], targets: Sequence[str], arguments: Mapping[str, str]
    ) -> list[str]:
        """Hashes of the target tensors; `arguments` are hashes of names from outside."""
        by_name = {node.name: node for node in nodes}
        known = dict(arguments)
        loops: dict[str, str] = {}
        self._visit(by_name, targets, known, loops)
        # What a loop feeds back is hashed once its start has a hash; bodies may hold more loops.
        fed_back: dict[str, str] = {}
        while waiting := loops.keys() - fed_back.keys():
            for name in waiting:
                self._visit(by_name, [loops[name]], known, loops)
                fed_back[name] = _tensor(loops[name], known)
        return [_sha(_tensor(t, known), *sorted(fed_back.values())) for t in targets]

    def _visit(
        self,
        by_name: Mapping[str, Any],
        targets: Sequence[str],
        known: dict[str, str],
        loops: dict[str, str],
    ) -> None:
        """Hash all that the targets need into `known`; note where loops close in `loops`."""
        pending = [_node_of(target) for target in targets]
        while pending:
            name = pending[-1]
            if name in known:
                pending.pop()
                continue
            node = by_name[name]
            sources = [] if node.op == _LOOP_END else [_node_of(i) for i in node.input]
            missing = [source for source in sources if source not in known]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            if node.op == _LOOP_END:
                loops[name] = node.input[0]
            known[name] = self._node(node, known)

    def _node(self, node: Any, known: Mapping[str, str]) -> str:
        parts = [node.op]
        if node.op.startswith("Placeholder"):
            parts.append(node.name)
        if node.op == _LOOP_END:
            return _sha(*parts)
        parts += [_tensor(i, known) for i in node.input if not i.startswith("^")]
        parts += sorted("^" + known[i[1:]] for i in node.input if i.startswith("^"))
        for key in sorted(node.attr):
            if not key.startswith("_") and key not in ("shared_name", "container"):
                parts += [key, self._attribute(node.attr[key])]
        return _sha(*parts)

    def _attribute(self, value: Any) -> str:
        kind = value.WhichOneof("value")
        if kind == "tensor":
            array = self._tf.make_ndarray(value.tensor)
            text = array.dtype.hasobject
            content = repr(array.tolist()).encode() if text else array.tobytes()
            return _sha(str(array.dtype), str(array.shape), hashlib.sha256(content).hexdigest())
        if kind == "func":
            return self._function(value.func.name)
        if kind == "list" and value.list.func:
            return _sha(*(self._function(f.name) for f in value.list.func))
        return hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()

    def _function(self, name: str) -> str:
        """Hash of a function's body; an operator of TensorFlow's own keeps its name."""
        if name not in self._library:
            return name
        if name not in self._functions:
            self._functions[name] = "recursion"
            function = self._library[name]
            arguments = {
                arg.name: _sha("argument", str(i))
                for i, arg in enumerate(function.signature.input_arg)
            }
            results = [function.ret[arg.name] for arg in function.signature.output_arg]
            self._functions[name] = _sha(*self.graph(function.node_def, results, arguments))
        return self._functions[name]


def _node_of(reference: str) -> str:
    return reference.removeprefix("^").partition(":")[0]


def _tensor(reference: str, known: Mapping[str, str]) -> str:
    node, _, port = reference.partition(":")
    return f"{known[node]}:{port or '0'}"
