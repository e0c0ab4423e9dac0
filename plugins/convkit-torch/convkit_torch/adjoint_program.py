"""An exported program rewritten so that somebody can watch all of its tensors while it runs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from convkit.errors import ConversionError
from convkit_torch.decompose import expansions, scale_root
from convkit_torch.decompose_inplace import MOVERS, functional, functional_target, is_plain_write
from convkit_torch.layers import op_type, scope

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

Rounding = Callable[[Any, "int | None"], Any]
"""The error of quantizing a weight, given the axis of its output channels."""


@dataclass(frozen=True)
class Place:
    """A floating-point tensor that is watched.

    Attributes:
        layer, op_type, scope, tensor: see `TracedTensor`; `tensor` is the layer's own name for the
            last part of an operator that was taken apart.
        weighted: it is computed with weights.
        derived: it is computed from another floating-point tensor.
    """

    layer: str
    op_type: str
    scope: str
    tensor: str
    weighted: bool
    derived: bool


class Watch(Protocol):
    """Who watches. Each method answers what the program goes on with."""

    def tensor(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """A tensor that has a scale of its own."""

    def moved(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """A tensor that holds values of another one."""

    def effect(
        self, place: int, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """By the call `target(*args, **kwargs)` the tensor that was watched last changes when its
        operator's weights are quantized, which it is linear in."""

    def weight(self, place: int, value: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """A weight of an operator that is not linear in it, and its error."""


@dataclass(frozen=True)
class WatchedProgram:
    """A program to be run under watch.

    Attributes:
        run: a watch and one tensor per tensor input of the program to the list of outputs.
        places: what is watched, by number; inputs first, then in execution order.
    """

    run: Callable[..., list[Any]]
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Linear:
    """An operator that is linear in its weight.

    Attributes:
        weight: the position of the weight among the arguments.
        axis: that of the weight's output channels; None where all share one scale everywhere.
        bias: the position of what is added, to be left out; -1 where there is nothing.
    """

    weight: int
    axis: int | None
    bias: int = -1


_LINEAR: Mapping[str, tuple[Linear, ...]] = {
    **{f"aten.conv{n}d": (Linear(1, 0, 2),) for n in (1, 2, 3)},
    **{f"aten.conv_transpose{n}d": (Linear(1, 1, 2),) for n in (1, 2, 3)},
    "aten.linear": (Linear(1, 0, 2),),
    "aten.matmul": (Linear(1, -1), Linear(0, -2)),
    "aten.mm": (Linear(1, -1), Linear(0, -2)),
    "aten.bmm": (Linear(1, -1), Linear(0, -2)),
    "aten.addmm": (Linear(2, -1, 0), Linear(1, -2, 0)),
    "aten.baddbmm": (Linear(2, -1, 0), Linear(1, -2, 0)),
    "aten.embedding": (Linear(0, None),),
}
_RECURRENT = ("aten.lstm", "aten.gru", "aten.rnn_tanh", "aten.rnn_relu")
_NORMS = ("aten.batch_norm", "aten._native_batch_norm_legit_no_training")
_WRAPPERS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")


def watched(program: ExportedProgram, rounding: Rounding) -> WatchedProgram:
    """Rewrite a program.

    Constant parts are computed once, batch norms are folded into the convolutions before them as
    all runtimes do, operators are taken apart by `decompose`, nothing is written in place.

    Raises:
        ConversionError: the program branches on values, or writes into its own values in a way
            that cannot be rewritten.
    """
    import torch

    with torch.no_grad():
        return _Builder(program, rounding).build()


class _Builder:
    """Writes the watched graph node by node.

    `_known` holds the values of nodes that do not depend on the inputs, `_made` the new nodes (or
    tuples of them) of those that do.
    """

    def __init__(self, program: ExportedProgram, rounding: Rounding) -> None:
        import torch

        self._original, self._rounding = program, rounding
        self._program = functional(program)
        self._types = {
            n.name: op_type(n.target) for n in program.graph.nodes if n.op == "call_function"
        }
        self._graph = torch.fx.Graph()
        self._watch = self._graph.placeholder("watch")
        self._constants = torch.nn.Module()
        self._known: dict[Any, Any] = {}
        self._made: dict[Any, Any] = {}
        self._floats: dict[Any, Any] = {}
        self._deferred: dict[Any, Any] = {}
        self._parts: list[tuple[str, Any, Any, bool, bool]] = []
        self._named: dict[int, str] = {}
        self._expansions = expansions()
        self._layer = ""
        self._source: Any = None

    def build(self) -> WatchedProgram:
        import torch

        self._placeholders()
        outputs: list[Any] = []
        for node in self._program.graph.nodes:
            if node.op == "output":
                outputs = [self._given(n) for n in _returned(self._program, node)]
            elif node.op != "placeholder":
                self._layer, self._source = self._origin(node), node
                self._node(node)
        self._graph.output(outputs)
        self._graph.lint()
        module = torch.fx.GraphModule(self._constants, self._graph)
        return WatchedProgram(module.forward, tuple(self._places()))

    def _placeholders(self) -> None:
        from convkit_torch.signature import input_slots

        nodes = {n.name: n for n in self._program.graph.nodes if n.op == "placeholder"}
        for spec in self._program.graph_signature.input_specs:
            node = nodes.get(getattr(spec.arg, "name", ""))
            if node is None:
                continue
            if spec.kind.name == "USER_INPUT":
                self._known[node] = getattr(spec.arg, "value", None)
                continue
            target = str(spec.target)
            stored = self._program.state_dict
            stored = stored if target in stored else self._program.constants
            if target not in stored:
                raise ConversionError(f"the program's {target} is not in the file")
            value = stored[target]
            self._known[node] = value.detach() if isinstance(value, torch_tensor()) else value
        slots = input_slots(self._program)
        fresh = [self._graph.placeholder(slot.node) for slot in slots]
        for slot, new in zip(slots, fresh, strict=True):
            node = nodes[slot.node]
            del self._known[node]
            self._layer, self._source = slot.node, node
            self._made[node] = self._watched(new, node, "input") if _is_float(node) else new

    def _node(self, node: Any) -> None:
        if node.op == "get_attr":
            self._known[node] = operator.attrgetter(node.target)(node.graph.owning_module)
            return
        if self._is_wrapper(node):
            self._inline(node)
            return
        kind = op_type(node.target)
        if kind.startswith(("aten._assert", "aten.sym_constrain", "_assert")):
            return
        if all(n in self._known for n in node.all_input_nodes):
            self._known[node] = self._evaluate(node)
            self._write_back(node, self._known)
        elif node.target is operator.getitem and isinstance(self._made[node.args[0]], tuple):
            self._made[node] = self._made[node.args[0]][node.args[1]]
        elif kind in ("aten.detach", "aten.detach_"):
            self._made[node] = self._given(node.args[0])  # the gradient goes on
        elif self._folds(node):
            self._deferred[node] = node
        elif kind in _NORMS and node.args[0] in self._deferred:
            self._folded(node)
        else:
            self._call(node, kind)

    def _call(self, node: Any, kind: str) -> None:
        import torch

        args, kwargs = self._arguments(node)
        target = node.target
        if is_plain_write(node):
            target = functional_target(node)
            kind = op_type(target)
        if kind == "aten.view":  # parts taken apart may lie differently in memory than their whole
            target = torch.ops.aten.reshape.default
        if kind in self._expansions:
            made = self._expansions[kind](self._emit, *args, **kwargs)
        elif kind in _LINEAR and self._weight_of(_LINEAR[kind], node, args) is not None:
            made = self._linear(node, target, args, kwargs, kind)
        elif kind.startswith(_RECURRENT):
            made = self._recurrent(node, target, args, kwargs)
        else:
            made = self._graph.call_function(target, args, kwargs)
            if _is_float(node):
                moved = kind in MOVERS or _is_part_of_mover(node) or self._scales(kind, args)
                made = self._watched(made, node, kind, moved=moved)
        self._made[node] = made
        self._write_back(node, self._made)

    def _write_back(self, node: Any, home: dict[Any, Any]) -> None:
        """Who asks for what was written into gets the result."""
        made = home[node]
        while is_plain_write(node):
            node = node.args[0]
            home[node] = made

    # -- weights

    def _weight_of(self, forms: Sequence[Linear], node: Any, args: Sequence[Any]) -> Linear | None:
        for form in forms:
            operand = node.args[form.weight] if form.weight < len(node.args) else None
            value = self._known.get(operand) if operand is not None else None
            if isinstance(value, torch_tensor()) and value.is_floating_point() and value.dim() > 1:
                return form
        return None

    def _linear(self, node: Any, target: Any, args: Any, kwargs: Any, kind: str) -> Any:
        form = self._weight_of(_LINEAR[kind], node, args)
        assert form is not None
        made = self._graph.call_function(target, args, kwargs)
        made = self._watched(made, node, kind, weighted=True)
        error = self._rounding(self._known[node.args[form.weight]], form.axis)
        self._effect(target, args, kwargs, form, error)
        return made

    def _effect(self, target: Any, args: Any, kwargs: Any, form: Linear, error: Any) -> None:
        import torch

        changed = list(args)
        changed[form.weight] = self._constant(error)
        if form.bias == 0:  # addmm and its like: the products alone, times `alpha`
            kwargs = {**kwargs, "beta": 0}
        elif 0 < form.bias < len(changed):
            changed[form.bias] = None
        kwargs = {k: None if k == "bias" else v for k, v in kwargs.items()}
        if target is torch.ops.aten.embedding.default:
            changed, kwargs = changed[:2], {}
        place = len(self._parts) - 1
        self._graph.call_method("effect", (self._watch, place, target, tuple(changed), kwargs))

    def _recurrent(self, node: Any, target: Any, args: Any, kwargs: Any) -> Any:
        """Matrices of a recurrent operator get a gradient of their own; its first result, which a
        later node picks, is what they count for."""
        where = next((i for i, a in enumerate(node.args) if isinstance(a, list | tuple)
                      and any(_rank(self._known.get(n)) == 2 for n in a)), None)  # fmt: skip
        args = list(args)
        place = len(self._parts)
        if where is not None:
            weights = []
            for given, old in zip(args[where], node.args[where], strict=True):
                if _rank(self._known.get(old)) != 2:
                    weights.append(given)
                    continue
                error = self._constant(self._rounding(self._known[old], 0))
                call = (self._watch, place, given, error)
                weights.append(self._graph.call_method("weight", call))
            args[where] = weights
        made = self._graph.call_function(target, tuple(args), kwargs)
        picked = []
        for number, leaf in enumerate(_values(node)):
            part = self._graph.call_function(operator.getitem, (made, number))
            if leaf.is_floating_point():
                weighted = where is not None and number == 0
                part = self._watched(part, node, op_type(target), weighted=weighted)
            picked.append(part)
        return tuple(picked)

    # -- batch norm

    def _folds(self, node: Any) -> bool:
        """Whether a convolution's only use is a batch norm that can be folded into it."""
        kind = op_type(node.target)
        if not kind.startswith(("aten.conv", "aten.linear")) or len(node.users) != 1:
            return False
        norm = next(iter(node.users))
        if norm.op != "call_function" or op_type(norm.target) not in _NORMS:
            return False
        form = self._weight_of(_LINEAR.get(kind, ()), node, ())
        constant = all(n in self._known for n in norm.all_input_nodes if n is not node)
        transposed = kind.startswith("aten.conv_transpose")
        grouped = transposed and len(node.args) > 6 and node.args[6] != 1
        evaluates = op_type(norm.target) != "aten.batch_norm" or not norm.args[5]
        after = kind != "aten.linear" or len(_values(norm)[0].shape) == 2
        known_bias = len(node.args) < 3 or node.args[2] is None or node.args[2] in self._known
        whole = form is not None and norm.args[0] is node and not node.kwargs
        return whole and constant and not grouped and evaluates and after and known_bias

    def _folded(self, norm: Any) -> None:
        import torch

        node = self._deferred.pop(norm.args[0])
        kind = op_type(node.target)
        form = _LINEAR[kind][0]
        gain, offset, mean, variance = (self._value(a) for a in norm.args[1:5])
        eps = norm.args[7 if op_type(norm.target) == "aten.batch_norm" else 6]
        factor = torch.rsqrt(variance + eps) * (1.0 if gain is None else gain)
        weight = self._known[node.args[1]]
        sizes = [1] * weight.dim()
        sizes[form.axis or 0] = -1
        scaled = weight * factor.reshape(sizes)
        bias = self._value(node.args[2]) if len(node.args) > 2 else None
        shift = (0.0 if offset is None else offset) + ((0.0 if bias is None else bias) - mean) * (
            factor
        )
        rest = [self._given(a) for a in node.args[3:]]
        args = (self._given(node.args[0]), self._constant(scaled), self._constant(shift), *rest)
        made = self._graph.call_function(node.target, args)
        made = self._watched(made, norm, op_type(norm.target), weighted=True)
        self._effect(node.target, args, {}, form, self._rounding(scaled, form.axis))
        several = op_type(norm.target) != "aten.batch_norm"
        self._made[norm] = (made, None, None) if several else made

    # -- nodes

    def _emit(self, target: Any, *args: Any) -> Any:
        made = self._graph.call_function(target, args)
        if target is scale_root:
            return made
        kind = op_type(target)
        moved = kind in MOVERS or self._scales(kind, args)
        return self._watched(made, self._source, kind, moved=moved)

    def _scales(self, kind: str, args: Sequence[Any]) -> bool:
        """Multiplication by a number: the grid grows with the values, which stay on it."""
        if kind == "aten.mul":
            return self._is_number(args[0]) or self._is_number(args[1])
        return kind == "aten.neg" or (kind == "aten.div" and self._is_number(args[1]))

    def _is_number(self, argument: Any) -> bool:
        import torch

        if not isinstance(argument, torch.fx.Node):
            return True
        if argument.op == "get_attr":
            return int(self._constants.get_buffer(argument.target).numel()) == 1
        return argument.target is scale_root

    def _watched(
        self, made: Any, node: Any, kind: str, *, weighted: bool = False, moved: bool = False
    ) -> Any:
        parents = [n for n in made.all_input_nodes if n in self._floats]
        self._parts.append((self._layer, node, kind, weighted, bool(parents)))
        method = "moved" if moved else "tensor"
        seen = self._graph.call_method(method, (self._watch, len(self._parts) - 1, made))
        self._floats[seen] = True
        return seen

    def _constant(self, value: Any) -> Any:
        import torch

        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in self._named:
            name = self._named[id(value)] = f"c{len(self._named)}"
            self._constants.register_buffer(name, value)  # which keeps it, and its id, alive
        return self._graph.get_attr(self._named[id(value)])

    def _given(self, argument: Any) -> Any:
        """What stands for an old node or a literal in the new graph."""
        import torch

        if not isinstance(argument, torch.fx.Node):
            return argument
        if argument in self._known:
            return self._constant(self._known[argument])
        return self._made[argument]

    def _value(self, argument: Any) -> Any:
        import torch

        return self._known[argument] if isinstance(argument, torch.fx.Node) else argument

    def _arguments(self, node: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        import torch

        return (
            torch.fx.node.map_arg(node.args, self._given),
            torch.fx.node.map_arg(node.kwargs, self._given),
        )

    def _evaluate(self, node: Any) -> Any:
        import torch

        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), self._known.__getitem__)
        if is_plain_write(node):
            return functional_target(node)(*args, **kwargs)
        return node.target(*args, **kwargs)

    # -- regions in which somebody switched something off

    def _is_wrapper(self, node: Any) -> bool:
        import torch

        if not isinstance(node.target, torch._ops.HigherOrderOperator):
            return False
        name = op_type(node.target)
        if name not in _WRAPPERS:
            raise ConversionError(
                f"the model has control flow ({name}), which has no gradient",
                hint="Rewrite it without branches on values.",
            )
        return True

    def _inline(self, node: Any) -> None:
        import torch

        at = next(i for i, a in enumerate(node.args) if isinstance(a, torch.fx.Node)
                  and isinstance(self._known.get(a), torch.nn.Module))  # fmt: skip
        body = self._known[node.args[at]]
        given = iter(node.args[at + 1 :])
        for inner in body.graph.nodes:
            if inner.op == "placeholder":
                outer = next(given)
                home = self._known if outer in self._known else self._made
                home[inner] = home[outer]
            elif inner.op == "output":
                result = torch.fx.node.map_arg(inner.args[0], self._given)
                self._made[node] = tuple(result)
            else:
                self._source = inner
                self._node(inner)

    def _origin(self, node: Any) -> str:
        """The name of the node in the program as it was saved."""
        if self._program is self._original:
            return str(node.name)
        sources = reversed(node.meta.get("from_node") or ())
        return next((s.name for s in sources if s.name in self._types), str(node.name))

    def _places(self) -> Iterator[Place]:
        last = {layer: i for i, (layer, *_) in enumerate(self._parts)}
        count: dict[str, int] = {}
        for layer, *_ in self._parts:
            count[layer] = count.get(layer, 0) + 1
        for i, (layer, node, kind, weighted, derived) in enumerate(self._parts):
            own = kind if kind == "input" or count[layer] > 1 else self._types.get(layer, kind)
            part = kind.rpartition(".")[2]
            tensor = layer if last[layer] == i else f"{layer}.{i - last[layer]}.{part}"
            path = "" if kind == "input" else scope(node)
            yield Place(layer, own, path, tensor, weighted, derived)


def torch_tensor() -> Any:
    """The type, imported late."""
    import torch

    return torch.Tensor


def _rank(value: Any) -> int:
    return int(value.dim()) if isinstance(value, torch_tensor()) else -1


def _values(node: Any) -> list[Any]:
    from torch.utils import _pytree as pytree

    return [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, torch_tensor())]


def _is_float(node: Any) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch_tensor()) and value.is_floating_point()


def _is_part_of_mover(node: Any) -> bool:
    """A pick among the results of a mover, such as one piece of a split."""
    return node.target is operator.getitem and op_type(node.args[0].target) in MOVERS


def _returned(program: ExportedProgram, output: Any) -> list[Any]:
    """The nodes of the user's tensor outputs."""
    from convkit_torch.signature import output_slots

    nodes = {n.name: n for n in program.graph.nodes}
    return [nodes[slot.node] for slot in output_slots(program)]
