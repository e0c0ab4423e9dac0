"""Seeded inputs for models that came without data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from convkit.artifact import Artifact, TensorSpec
from convkit.calibration import carried_type
from convkit.codec import encode
from convkit.engine.digest import digest_key
from convkit.engine.sample_files import SampleWriter
from convkit.engine.session import Samples, Session
from convkit.engine.verify import OUTPUTS_FILE, outputs_of_original
from convkit.errors import ConversionError, UsageError

RANDOM_SAMPLES = (2, 4)
"""At least so many random inputs, to tell what is constant; at most so many."""
RANDOM_VALUES = 500_000
"""Inputs as large as this together are evidence enough: an image of 640 pixels a side holds
more, and running it costs as much as some conversions."""
UNKNOWN_DIMENSION = 1
LIKELY_SIZES = (64, 16, 224, 320, 8, 1)
"""Sizes of open axes, likely ones first: an image's sides that strides divide, a sentence."""
INTEGER_CEILING = 8
"""Random integer inputs stay below it: any embedding has that many rows."""


def random_samples(session: Session, artifact: Artifact) -> Samples:
    """Seeded inputs made from the tensor specs, for models that came without data. Where axes are
    open, sizes are tried until the original runs.

    Raises:
        UsageError: it runs with none of them.
    """
    if all(_is_known(d) for spec in artifact.inputs for d in _shape(spec, artifact)):
        return _random_samples(session, artifact, UNKNOWN_DIMENSION)
    refusal = ""
    for size in LIKELY_SIZES:
        samples = _random_samples(session, artifact, size)
        try:
            outputs_of_original(session, artifact, samples, None)
        except ConversionError as error:
            refusal = error.message
            continue
        session.notice(f"open axes are taken as {size} for verification; --shape says otherwise")
        return samples
    raise UsageError(
        f"the sizes of open axes cannot be guessed: {refusal}",
        hint="Say them: --shape NAME=1x3x320x320, once for each input, or give --calibration.",
    )


def _random_samples(session: Session, artifact: Artifact, size: int) -> Samples:
    seed, count = session.settings.seed, _random_count(artifact, size)
    key = digest_key(
        {
            "kind": "random",
            "inputs": encode(artifact.inputs),
            "shapes": encode(artifact.read.shapes),
            "size": size,
            "seed": seed,
            "n": count,
        }
    )

    def make(folder: Path) -> Any:
        write_random(artifact, folder / OUTPUTS_FILE, count, seed, size)
        return {}

    folder, _, _ = session.store.produce(key, make)
    return Samples(folder / OUTPUTS_FILE, key, count, synthetic=True)


def _random_count(artifact: Artifact, size: int) -> int:
    values = sum(math.prod(_sizes(spec, artifact, size)) for spec in artifact.inputs)
    least, most = RANDOM_SAMPLES
    return max(least, min(most, RANDOM_VALUES // max(1, values)))


def write_random(
    artifact: Artifact, path: Path, count: int, seed: int, size: int = UNKNOWN_DIMENSION
) -> None:
    """Write `count` random samples: floats uniform in 0..1, small integers, fair booleans. Open
    axes are as `--shape` says, else the first one 1 and the others `size`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    writer = SampleWriter()
    for sample in range(count):
        arrays: list[Any] = []
        for spec in artifact.inputs:
            shape = _sizes(spec, artifact, size)
            kind = np.dtype(carried_type(spec.dtype))
            values: Any
            if kind == np.bool_:
                values = rng.integers(0, 2, shape).astype(np.bool_)
            elif np.issubdtype(kind, np.integer) and spec.scale is None:
                values = rng.integers(0, INTEGER_CEILING, shape).astype(kind)
            else:
                target = kind if np.issubdtype(kind, np.floating) else np.dtype(np.float32)
                values = rng.random(shape).astype(target)
            arrays.append(values)
        writer.add(sample, arrays)
    writer.save(path)


def _shape(spec: TensorSpec, artifact: Artifact) -> Sequence[int | str | None]:
    return artifact.read.shapes.get(spec.name, spec.shape)


def _sizes(spec: TensorSpec, artifact: Artifact, size: int) -> list[int]:
    return [
        int(d) if _is_known(d) else size if axis else UNKNOWN_DIMENSION
        for axis, d in enumerate(_shape(spec, artifact))
    ]


def _is_known(size: int | str | None) -> TypeGuard[int]:
    return isinstance(size, int) and size > 0
