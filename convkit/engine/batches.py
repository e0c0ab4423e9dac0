"""Two samples in one batch: whether an axis that a file leaves open is open indeed.

A batch size that a converter fixed somewhere inside gives right results as long as samples come one
by one, and wrong ones later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, TensorSpec
from convkit.calibration import sample_key
from convkit.engine.digest import digest_key
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
        from safetensors.numpy import save_file

        joined = _join(samples.path, len(reference.inputs), stacked)
        if joined is not None:
            save_file(joined, folder / PAIR_FILE)
        return {"fits": joined is not None}

    folder, document, _ = session.store.produce(key, make)
    if not document["fits"]:
        return None
    return Samples(folder / PAIR_FILE, key, 1, samples.synthetic)


def _open(spec: TensorSpec) -> bool:
    """Whether the original's first axis has no fixed size in this artifact."""
    axis = spec.permutation.index(0) if spec.permutation else 0
    return bool(spec.shape) and not isinstance(spec.shape[axis], int)


def _join(path: Path, width: int, stacked: list[int]) -> dict[str, Any] | None:
    """Inputs of the joined sample; those that are not stacked are the first sample's."""
    import numpy as np
    from safetensors import safe_open

    joined: dict[str, Any] = {}
    with safe_open(path, framework="numpy") as file:
        for index in range(width):
            one, other = (file.get_tensor(sample_key(number, index)) for number in (0, 1))
            if index in stacked and one.shape[1:] != other.shape[1:]:
                return None
            whole = np.concatenate([one, other]) if index in stacked else one
            joined[sample_key(0, index)] = np.ascontiguousarray(whole)
    return joined
