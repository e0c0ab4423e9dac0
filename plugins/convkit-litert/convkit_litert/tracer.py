"""Shows the results of all operators of a TFLite file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, TracedTensor


def trace(artifact: Artifact, inputs: Sequence[Any], threads: int) -> Iterator[TracedTensor]:
    """See `Tracer.trace`. XNNPACK, which would swallow whole stretches of the graph, stays out.

    Results of operators that have constants for operands only (weights behind DEQUANTIZE) are no
    activations and are left out, and so is what an untaken branch left empty.

    Raises:
        InputError: the file is damaged.
        ConversionError: the runtime cannot load or run it.
    """
    import numpy as np
    from ai_edge_litert.interpreter import OpResolverType

    from convkit_litert.arrays import decode
    from convkit_litert.layers import layers
    from convkit_litert.model import Port, load
    from convkit_litert.runner import LiteRtSession, interpreter

    model = load(artifact.path)
    made = interpreter(
        artifact.path.name,
        threads,
        model_path=str(artifact.path),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    LiteRtSession(artifact, model, made).run(inputs)
    tensors = model.main.tensors
    constants = {i for i, tensor in enumerate(tensors) if tensor.constant}
    for layer, operator in zip(layers(model), model.main.operators, strict=True):
        operands = {i for i in operator.inputs if i >= 0}
        if operands and operands <= constants:
            constants.update(operator.outputs)
            continue
        for index in operator.outputs:
            tensor = tensors[index]
            if "float" not in tensor.dtype and not tensor.quantized:
                continue
            try:
                value = made.get_tensor(index)
            except ValueError:  # no data: an untaken branch
                continue
            if value.dtype.kind not in "fiu":
                raise ConversionError(f"{tensor.name} holds {tensor.dtype}, which cannot be shown")
            yield TracedTensor(
                layer=layer.name,
                op_type=layer.op_type,
                scope=layer.scope,
                value=np.asarray(decode(value, Port(tensor.name, index, tensor)), np.float32),
                tensor=tensor.name,
            )
