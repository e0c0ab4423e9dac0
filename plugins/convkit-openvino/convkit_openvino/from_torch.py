"""`openvino.from-torch`: an exported program to OpenVINO IR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError, InputError
from convkit.plans import OptionValue
from convkit.plugin import Artifact, HopContext, Obstacle, State, TraitRequirement
from convkit_openvino.edge import IntoOpenVino
from convkit_openvino.runtime import REQUIREMENTS

if TYPE_CHECKING:
    import openvino


_STATE = "a buffer that every inference changes"
_STATELESS = "Export the module in eval mode, or make the state an input and an output."


class FromTorch(IntoOpenVino):
    """Names, order, NCHW and symbolic dimensions are kept; operators carry their module's path."""

    name: str = "openvino.from-torch"
    source: State = State("torch")
    requirements: tuple[str, ...] = (*REQUIREMENTS, "torch>=2.6")
    seconds: float = 8.0
    requires: tuple[TraitRequirement, ...] = (TraitRequirement("container", one_of=("pt2",)),)

    def translate(self, artifact: Artifact, context: HopContext | None) -> openvino.Model:
        """See `IntoOpenVino.translate`."""
        import torch

        from convkit_openvino import frontends, naming, torch_state

        if context is not None and context.threads > 0:
            torch.set_num_threads(context.threads)
        decoder = _decoder(_load(artifact))
        changed = torch_state.written_back(decoder.pt_module.graph)
        if changed:
            # The front end would drop the assignment: right at the first inference, wrong later.
            raise ConversionError(
                f"{artifact.path.name} changes its buffer {changed[0]!r} at every inference",
                hint=_STATELESS,
            )
        places = _each_once(decoder)
        model = frontends.translate("pytorch", decoder)
        _name_outputs(model, places, artifact)
        naming.add_scopes(model, _modules(decoder))
        return model

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """State in buffers. Operators are not looked at: the front end has no list of those that it
        knows, and taking a program apart to try costs as much as the conversion."""
        from convkit_openvino.torch_state import assigned_buffers

        changed = assigned_buffers(_load(artifact))
        return (Obstacle(_STATE, remedy=_STATELESS),) if changed else ()


def _load(artifact: Artifact) -> Any:
    """The program. The inspector of the format has read this very file before, and refuses one
    that would run code when it is loaded.

    Raises:
        InputError: damaged.
    """
    import torch

    try:
        program = torch.export.load(str(artifact.path))
    except Exception as exc:  # any type on malformed archives
        raise InputError(f"torch cannot load {artifact.path.name}: {exc}") from exc
    return program


def _decoder(program: Any) -> Any:
    from convkit_openvino.runtime import first_line, without_telemetry

    without_telemetry()
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    try:
        # Sizes that the program fixes stay fixed: `dynamic_shapes` would open all of them.
        return TorchFXPythonDecoder.from_exported_program(program, dynamic_shapes=False)
    except Exception as exc:  # what torch's decompositions raise
        raise ConversionError(
            f"OpenVINO cannot take this program apart: {first_line(exc)}",
            hint="Take another road to OpenVINO, for example --via onnx.",
        ) from exc


def _each_once(decoder: Any) -> list[int]:
    """Let the decoder hand out each result once, which is all that the front end can take.

    Returns:
        For each output of the program its place among those.
    """
    nodes = [node for _, node in decoder._outputs]
    unique = list(dict.fromkeys(nodes))
    decoder._outputs = [("", node) for node in unique]
    return [unique.index(node) for node in nodes]


def _name_outputs(model: openvino.Model, places: Sequence[int], artifact: Artifact) -> None:
    """Decomposed nodes have other names than the program's: outputs go by their place.

    Raises:
        ConversionError: there are more or fewer of them.
    """
    from openvino import opset13 as operators

    results = model.get_results()
    if len(places) != len(artifact.outputs) or len(results) != len(set(places)):
        raise ConversionError(
            f"OpenVINO made {len(results)} outputs of the program's {len(artifact.outputs)}"
        )
    named: set[int] = set()
    for place, spec in zip(places, artifact.outputs, strict=True):
        result = results[place]
        if place in named:
            result = operators.result(result.input_value(0))
            model.add_results([result])
        named.add(place)
        result.set_friendly_name(spec.name)


def _modules(decoder: Any) -> dict[str, str]:
    """Node of the decomposed program to the path of the module that it stems from."""
    found = {}
    for node in decoder.pt_module.graph.nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        if node.op == "call_function" and stack:
            found[node.name] = str(stack[-1][0])
    return found
