"""The signature of a SavedModel that convkit speaks about, and tensor specs of TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact, TensorSpec
from convkit_tensorflow.runtime import first_line

DEFAULT = "serving_default"


def choose(keys: Iterable[str], name: str) -> str:
    """`serving_default`, or the only signature that there is.

    Raises:
        InputError: no signature, or several of which none is the default.
    """
    public = [key for key in keys if not key.startswith("__")]
    if DEFAULT in public:
        return DEFAULT
    if len(public) == 1:
        return public[0]
    if not public:
        raise InputError(
            f"{name} has no signature, so that its inputs and outputs have no names",
            hint="Save it with tf.saved_model.save(..., signatures=...) or model.export(...).",
        )
    raise InputError(
        f"{name} has several signatures and none is called {DEFAULT}: {', '.join(sorted(public))}",
        hint=f"Save the one to convert as {DEFAULT}.",
    )


def load(tf: Any, path: Path) -> tuple[Any, Any]:
    """The loaded object (which owns the variables: keep it) and its signature function.

    Raises:
        InputError: damaged, or without a usable signature.
    """
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as exc:
        raise InputError(
            f"{path.name} cannot be loaded as a SavedModel: {first_line(exc)}",
            hint="The directory is damaged or incomplete, or it needs custom operators.",
        ) from exc
    return loaded, loaded.signatures[choose(loaded.signatures, path.name)]


def input_tensors(function: Any) -> dict[str, Any]:
    """TensorSpec by input name, sorted by name, which is all the order that a signature has."""
    return dict(sorted(function.structured_input_signature[1].items()))


def output_tensors(function: Any) -> dict[str, Any]:
    """Tensor by output name, sorted by name."""
    return dict(sorted(function.structured_outputs.items()))


def spec(name: str, tensor: Any, source: TensorSpec | None = None) -> TensorSpec:
    """What TensorFlow says about a tensor.

    Symbolic dimensions and the layout, which TensorFlow does not keep, are taken from `source`.
    """
    rank = tensor.shape.rank
    shape: tuple[int | str | None, ...] = tuple(tensor.shape) if rank is not None else ()
    if source is not None and len(source.shape) == len(shape):
        shape = tuple(s if d is None else d for d, s in zip(shape, source.shape, strict=True))
    return TensorSpec(name, shape, tensor.dtype.name, layout=source.layout if source else "")


def ordered(
    what: str, wanted: Sequence[TensorSpec], found: Mapping[str, Any], artifact: Artifact
) -> list[tuple[str, TensorSpec | None]]:
    """Names in the artifact's order, each with the artifact's own spec.

    Raises:
        ConversionError: the file has other names than the artifact says.
    """
    if not wanted:
        return [(name, None) for name in found]
    if {item.name for item in wanted} != set(found):
        raise ConversionError(
            f"{artifact.path.name} has the {what} {', '.join(found)} and not "
            f"{', '.join(item.name for item in wanted)}"
        )
    return [(item.name, item) for item in wanted]
