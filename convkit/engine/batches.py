"""Two samples in one batch: whether an axis that a file leaves open is open indeed.

A batch size that a converter fixed somewhere inside gives right results as long as samples come one
by one, and wrong ones later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, TensorSpec
from convkit.engine.digest import digest_key
from convkit.engine.sample_files import samples_in, write_samples
from convkit.engine.session import Samples, Session

PAIR_FILE = "pair.safetensors"


def pair(
    session: Session, reference: Artifact, candidate: Artifact, samples: Samples
) -> Samples | None:
    """The first two samples joined along the first axis, where both artifacts leave that open.

    Returns:
        None where no input has an open first axis, or the two samples do not fit together.
    """
    stacked = [index for index, spec in enumerate(reference.inputs) if _open(spec)]
    if samples.count < 2 or not stacked or len(candidate.inputs) != len(reference.inputs):
        return None
    if not all(_open(candidate.inputs[index]) for index in stacked):
        return None
    key = digest_key({"kind": "pair", "samples": samples.digest, "stacked": stacked})

    def make(folder: Path) -> Any:
        joined = _join(samples.path, stacked)
        if joined is not None:
            write_samples([joined], folder / PAIR_FILE)
        return {"fits": joined is not None}

    folder, document, _ = session.store.produce(key, make)
    if not document["fits"]:
        return None
    return Samples(folder / PAIR_FILE, key, 1, samples.synthetic)


def _open(spec: TensorSpec) -> bool:
    """Whether the original's first axis has no fixed size in this artifact."""
    axis = spec.permutation.index(0) if spec.permutation else 0
    return bool(spec.shape) and not isinstance(spec.shape[axis], int)


def _join(path: Path, stacked: list[int]) -> list[Any] | None:
    """Inputs of the joined sample; those that are not stacked are the first sample's."""
    import numpy as np

    joined: list[Any] = []
    for index, (one, other) in enumerate(zip(*samples_in(path, 2), strict=True)):
        if index in stacked and one.shape[1:] != other.shape[1:]:
            return None
        joined.append(np.concatenate([one, other]) if index in stacked else one)
    return joined
