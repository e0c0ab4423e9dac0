"""An exported program rewritten so that somebody can watch all of its tensors while it runs."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit_torch import adjoint_weights as weights
from convkit_torch.adjoint_watch import Place
from convkit_torch.decompose import expansions, repeated_heads, scale_root
from convkit_torch.decompose_inplace import MOVERS, functional, functional_target, is_plain_write
from convkit_torch.layers import op_type, scope

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

Rounding = Callable[["torch.Tensor", "int | None"], "torch.Tensor"]
"""The error of quantizing a weight, given the axis of its output channels."""

_WRAPPERS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")


@dataclass(frozen=True)
class WatchedProgram:
    """A program to be run under watch.

    Attributes:
        run: a watch and one tensor per tensor input of the program to the list of outputs.
        places: what is watched, by number; inputs first, then in execution order.
    """

    run: Callable[..., list[Any]]
    places: tuple[Place, ...]


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


@dataclass(frozen=True)
class _Part:
    """A place in the making: the old node whose metadata it has, and that node's name in the
    program as it was saved."""

    layer: str
    node: Any
    kind: str
    weighted: bool
    derived: bool
    moved: bool


class _Builder:
    """Writes the watched graph node by node.

    `_known` holds the values of old nodes that do not depend on the inputs, `_made` the new nodes
    (or tuples of them) of those that do.
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
        self._named: dict[int, str] = {}
        self._known: dict[Any, Any] = {}
        self._made: dict[Any, Any] = {}
        self._floats: set[Any] = set()
        self._parts: list[_Part] = []
        self._expansions = expansions()
        self._layer, self._source = "", None

    def build(self) -> WatchedProgram:
        """Write all of it."""
        import torch

        from convkit_torch.signature import output_slots

        self._placeholders()
        for node in self._program.graph.nodes:
            if node.op not in ("placeholder", "output"):
                self._layer = self._origin(node)
                self._node(node)
        nodes = {n.name: n for n in self._program.graph.nodes}
        slots = output_slots(self._program)
        self._graph.output([self._given(nodes[slot.node]) for slot in slots])
        module = torch.fx.GraphModule(self._constants, self._graph)
        return WatchedProgram(module.forward, tuple(self._places()))

    def _placeholders(self) -> None:
        import torch

        from convkit_torch.signature import input_slots

        nodes = {n.name: n for n in self._program.graph.nodes if n.op == "placeholder"}
        slots = input_slots(self._program)
        given = {slot.node for slot in slots}
        for spec in self._program.graph_signature.input_specs:
            name = getattr(spec.arg, "name", "")
            if spec.kind.name == "USER_INPUT":
                if name in nodes and name not in given:
                    self._known[nodes[name]] = getattr(spec.arg, "value", None)
                continue
            target, stored = str(spec.target), self._program.state_dict
            stored = stored if target in stored else self._program.constants
            if target not in stored:
                raise ConversionError(f"the program's {target} is not in the file")
            value = stored[target]
            self._known[nodes[name]] = value.detach() if weights.rank(value) >= 0 else value
        fresh = [self._graph.placeholder(slot.node) for slot in slots]
        for slot, new in zip(slots, fresh, strict=True):
            self._layer, self._source = slot.node, nodes[slot.node]
            floats = isinstance(slot.value, torch.Tensor) and slot.value.is_floating_point()
            self._made[self._source] = self._watched(new, "input") if floats else new

    def _node(self, node: Any) -> None:
        """Write what stands for one old node."""
        self._source = node
        if node.op == "get_attr":
            self._known[node] = operator.attrgetter(node.target)(node.graph.owning_module)
        elif _is_wrapper(node):
            self._inline(node)
        elif op_type(node.target).startswith(("aten._assert", "aten.sym_constrain", "_assert")):
            pass
        elif all(n in self._known for n in node.all_input_nodes):
            self._known[node] = self._evaluate(node)
            self._write_back(node, self._known)
        elif node.target is operator.getitem and isinstance(self._made[node.args[0]], tuple):
            self._made[node] = self._made[node.args[0]][node.args[1]]
        elif op_type(node.target) in ("aten.detach", "aten.detach_"):
            self._made[node] = self._given(node.args[0])  # the gradient goes on
        elif not weights.folds(node, self._known):  # else its batch norm writes it
            self._made[node] = self._call(node)
            self._write_back(node, self._made)

    def _call(self, node: Any) -> Any:
        import torch

        target = functional_target(node) if is_plain_write(node) else node.target
        kind = op_type(target)
        if kind in weights.NORMS and weights.folds(node.args[0], self._known):
            return self._folded(node.args[0], node)
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), self._given)
        if kind == "aten.view":  # parts taken apart may lie differently in memory than their whole
            target = torch.ops.aten.reshape.default
        if kind in self._expansions:
            return self._expansions[kind](self._emit, *args, **kwargs)
        if kind.startswith(weights.RECURRENT):
            return self._recurrent(node, list(args), kwargs)
        form = weights.linear_form(node, self._known)
        if form is not None:
            error = self._rounding(self._known[node.args[form.weight]], form.axis)
            return self._weighted(node, form, target, list(args), kwargs, error, kind)
        made = self._graph.call_function(target, args, kwargs)
        if not _is_float(node):
            if kind in MOVERS and self._derived(made):
                self._floats.add(made)  # pieces, which later nodes pick
            return made
        moved = kind in MOVERS or _is_part_of_mover(node) or self._scales(kind, args)
        return self._watched(made, kind, moved=moved)

    def _write_back(self, node: Any, home: dict[Any, Any]) -> None:
        """Who asks for what was written into gets the result."""
        made = home[node]
        while is_plain_write(node):
            node = node.args[0]
            home[node] = made

    def _emit(self, target: Any, *args: Any) -> Any:
        made = self._graph.call_function(target, args)
        if target is scale_root:
            return made
        kind = op_type(target)
        moved = kind in MOVERS or target is repeated_heads or self._scales(kind, args)
        return self._watched(made, kind, moved=moved)

    # -- weights

    def _weighted(
        self,
        node: Any,
        form: weights.Linear,
        target: Any,
        args: list[Any],
        kwargs: Any,
        error: Any,
        kind: str,
    ) -> Any:
        """The result of an operator that is linear in its weight."""
        off = self._constant(error)
        changed, named = weights.change(node, form, args, kwargs, off)
        kernel = (self._watch, len(self._parts), args[form.weight], off)
        args[form.weight] = self._graph.call_method("kernel", kernel)
        made = self._graph.call_function(target, tuple(args), kwargs)
        call = (self._watch, len(self._parts), made, target, changed, named)
        return self._watched(self._graph.call_method("effect", call), kind, weighted=True)

    def _folded(self, node: Any, norm: Any) -> Any:
        weight, bias, axis = weights.folded(node, norm, self._known)
        rest = [self._given(a) for a in node.args[3:]]
        args = [self._given(node.args[0]), self._constant(weight), self._constant(bias), *rest]
        form = weights.Linear(1, axis, 2)
        kind = op_type(norm.target)
        error = self._rounding(weight, axis)
        made = self._weighted(node, form, node.target, args, {}, error, kind)
        return made if kind == "aten.batch_norm" else (made, None, None)

    def _recurrent(self, node: Any, args: list[Any], kwargs: Any) -> Any:
        """Its matrices get gradients of their own, which count for its first result."""
        weighted = False
        for i, operands in enumerate(node.args):
            if not isinstance(operands, list | tuple):
                continue
            args[i] = list(args[i])
            for j, operand in enumerate(operands):
                if weights.rank(self._known.get(operand)) == 2:
                    error = self._constant(self._rounding(self._known[operand], 0))
                    call = (self._watch, len(self._parts), args[i][j], error)
                    args[i][j] = self._graph.call_method("weight", call)
                    weighted = True
        made = self._graph.call_function(node.target, tuple(args), kwargs)
        if not isinstance(node.meta["val"], list | tuple):
            return self._watched(made, op_type(node.target), weighted=weighted)
        picked = []
        for number in range(len(node.meta["val"])):
            part = self._graph.call_function(operator.getitem, (made, number))
            first = weighted and not number
            picked.append(self._watched(part, op_type(node.target), weighted=first))
        return tuple(picked)

    # -- nodes

    def _watched(self, made: Any, kind: str, *, weighted: bool = False, moved: bool = False) -> Any:
        derived = self._derived(made)
        moved = moved and derived  # else an operator that makes floats of integers
        part = _Part(self._layer, self._source, kind, weighted, derived, moved)
        self._parts.append(part)
        method = "moved" if moved else "tensor"
        seen = self._graph.call_method(method, (self._watch, len(self._parts) - 1, made))
        self._floats.add(seen)
        return seen

    def _derived(self, made: Any) -> bool:
        return any(n in self._floats for n in made.all_input_nodes)

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
            return self._constants.get_buffer(str(argument.target)).numel() == 1
        return argument.target is scale_root

    def _constant(self, value: Any) -> Any:
        if weights.rank(value) < 0:
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

    def _evaluate(self, node: Any) -> Any:
        import torch

        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), self._known.__getitem__)
        target = functional_target(node) if is_plain_write(node) else node.target
        return target(*args, **kwargs)

    def _inline(self, node: Any) -> None:
        """Write the body of a region in which somebody switched something off."""
        import torch

        bodies = (i for i, a in enumerate(node.args) if hasattr(self._known_or(a), "graph"))
        at = next(bodies)
        given = iter(node.args[at + 1 :])
        for inner in self._known[node.args[at]].graph.nodes:
            if inner.op == "placeholder":
                outer = next(given)
                home = self._known if outer in self._known else self._made
                home[inner] = home[outer]
            elif inner.op == "output":
                self._made[node] = tuple(torch.fx.node.map_arg(inner.args[0], self._given))
            else:
                self._node(inner)

    def _known_or(self, argument: Any) -> Any:
        import torch

        return self._known.get(argument) if isinstance(argument, torch.fx.Node) else None

    def _origin(self, node: Any) -> str:
        """The name of the node in the program as it was saved."""
        if self._program is self._original:
            return str(node.name)
        sources = reversed(node.meta.get("from_node") or ())
        return next((s.name for s in sources if s.name in self._types), str(node.name))

    def _places(self) -> Iterator[Place]:
        last = {part.layer: i for i, part in enumerate(self._parts)}
        count = Counter(part.layer for part in self._parts)
        for i, part in enumerate(self._parts):
            name, kind = part.layer, part.kind
            if last[name] != i:
                name = f"{name}.{kind.rpartition('.')[2]}.{last[name] - i}"
            if kind != "input" and count[part.layer] == 1:
                kind = self._types.get(part.layer, kind)
            path = "" if kind == "input" else scope(part.node)
            yield Place(part.layer, kind, path, name, part.weighted, part.derived, part.moved)


def _is_wrapper(node: Any) -> bool:
    """Whether a node runs a body in another mode.

    Raises:
        ConversionError: it chooses between bodies.
    """
    import torch

    if not isinstance(node.target, torch._ops.HigherOrderOperator):
        return False
    name = op_type(node.target)
    if name not in _WRAPPERS:
        raise ConversionError(
            f"the model has control flow ({name}), whose gradient is that of one branch",
            hint="A ranker that needs no gradient can take such a model.",
        )
    return True


def _is_float(node: Any) -> bool:
    value = node.meta.get("val")
    return weights.rank(value) >= 0 and value.is_floating_point()


def _is_part_of_mover(node: Any) -> bool:
    """A pick among the results of a mover, such as one piece of a split."""
    return node.target is operator.getitem and op_type(node.args[0].target) in MOVERS
