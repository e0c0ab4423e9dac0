"""What travels along the graph: formats, precisions, states, tensor specs and artifacts on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from convkit.errors import UsageError, did_you_mean

Trait = bool | int | str
"""A trait's value; see `Artifact.traits`."""

PARAMETER_BYTES = "parameter_bytes"
"""The one trait that a change of format carries along: containers have limits."""

RANDOM = "random"
"""The trait of a model that draws random numbers when it runs: the operators that do, by name."""

PRECISIONS = ("fp32", "fp16", "int8-weights", "int8-dynamic", "int4-weights", "int8")
"""Built-in precisions, best first. A path never moves to the left, but for a first edge that
`widens`."""


@dataclass(frozen=True)
class Format:
    """A file format in the graph.

    Attributes:
        id: for example `tflite`; lower case, may contain hyphens.
        title: the name that people know it by.
        suffixes: file suffixes with the dot, the preferred one first; empty for a directory.
        directory_suffix: what is appended to the stem where the format is a directory
            (`-saved`), else an empty string.
        precisions: the precisions that exist in this format.
        companions: of a single-file format, what further files are called that convkit's own
            outputs may have beside them, appended to the stem (`.bin`).
        own_suffixes: precision to the suffix of its files, where that is not the preferred one.
    """

    id: str
    title: str
    suffixes: tuple[str, ...] = ()
    directory_suffix: str = ""
    precisions: tuple[str, ...] = ("fp32",)
    companions: tuple[str, ...] = ()
    own_suffixes: Mapping[str, str] = field(default_factory=dict)

    def suffix(self, precision: str) -> str:
        """Of a file of that precision, with the dot; empty for a directory."""
        return self.own_suffixes.get(precision, self.suffixes[0] if self.suffixes else "")


@dataclass(frozen=True)
class Detection:
    """A guess at a file's format: 1.0 a magic number plus structure, 0.5 the suffix only."""

    format: str
    confidence: float


@dataclass(frozen=True, order=True)
class State:
    """A node of the graph: a format in a precision, spelled `format[-precision]`."""

    format: str
    precision: str = "fp32"

    def __str__(self) -> str:
        return self.format if self.precision == "fp32" else f"{self.format}-{self.precision}"

    @classmethod
    def parse(cls, text: str, formats: Iterable[Format]) -> State:
        """Read `tflite-int8`; format ids may contain hyphens, so the longest known id wins.

        Raises:
            UsageError: for an unknown format or precision, naming near misses.
        """
        known = {f.id: f for f in formats}
        for name in sorted(known, key=len, reverse=True):
            if text == name:
                return cls(name)
            if text.startswith(name + "-"):
                precision = text[len(name) + 1 :]
                if precision in known[name].precisions:
                    return cls(name, precision)
        states = [str(cls(f.id, p)) for f in known.values() for p in f.precisions]
        raise UsageError(
            f"there is no format or precision called {text!r}",
            hint=f"{did_you_mean(text, states)} `convkit formats` lists what exists.".lstrip(),
        )


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: the tensor's own name in this artifact.
        shape: entries are an int, a symbolic name, or None where nothing is known.
        dtype: numpy's name for it: `float32`, `int64`, `bool`, `int8`, ...
        layout: `NCHW`, `NHWC`, or an empty string where the axes have no such meaning.
        scale, zero_point: affine quantization of an integer input or output, else None.
        permutation: how its axes come from those of the same tensor in the original model, as in
            `original.transpose(permutation)`; empty where they are in the same order. A converter
            states it against its own input; the engine chains the hops.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: str
    layout: str = ""
    scale: float | None = None
    zero_point: int | None = None
    permutation: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """What the user said about reading the original file; it travels with the artifact.

    Attributes:
        trust: running code that is inside the file is allowed.
        factory: `package.module:function` that builds the module of a bare state dict.
        shapes: input name to a fixed shape, for files that do not say (TorchScript, state dicts).
        dtypes: input name to dtype, `float32` where absent.
        dynamic: input name to the axes that are to stay variable, where a file of fixed shapes is
            made from one that has none.
    """

    trust: bool = False
    factory: str = ""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    dynamic: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A model on disk; never a live object.

    Attributes:
        path: the file, or the directory of a directory format.
        inputs, outputs: in the order of the original model, whatever the file's own order is.
        digest: sha256 of the canonical content (equal programs, equal digest).
        size_bytes: of the file, or of all files of the directory.
        traits: what a state is too coarse for: `opset`, `exporter`, `simplified`, `dynamic`, ...
            An absent trait is unknown.
        read: how the user said the file is to be read.
        notes: what the converter that wrote it decided or had to leave, for people; they are of
            this hop and do not travel further.
    """

    path: Path
    state: State
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    digest: str = ""
    size_bytes: int = 0
    traits: Mapping[str, Trait] = field(default_factory=dict)
    read: ReadOptions = field(default_factory=ReadOptions)
    notes: tuple[str, ...] = ()
