"""Calibration data of any kind, drained once into a hashed set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, State
from convkit.calibration import CalibrationData
from convkit.codec import encode
from convkit.engine.digest import digest_file, digest_files, digest_key
from convkit.engine.random_samples import write_random
from convkit.engine.session import Session
from convkit.errors import CalibrationError
from convkit.plugin.data import CalibrationSource

FILE = "calibration.safetensors"
USUAL = 200
"""Samples below which a word is said; 200 to 300 are usual."""
SYNTHETIC_COUNT = 32


@dataclasses.dataclass(frozen=True)
class CalibrationRequest:
    """What the user said about calibration.

    Attributes:
        data: a path, or any iterable of samples.
        transform: settings that win over `calibration.toml`.
        limit: take at most so many samples, chosen by `seed` where the source can choose.
        synthetic: make random numbers.
    """

    data: Any = None
    transform: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    limit: int | None = None
    synthetic: bool = False


def collect(
    session: Session, request: CalibrationRequest, artifact: Artifact
) -> CalibrationData | None:
    """Drain what the user gave; None where nothing was given.

    Raises:
        CalibrationError: unreadable, empty, or not fitting the model's inputs.
    """
    if request.data is None:
        return _synthetic(session, artifact) if request.synthetic else None
    if request.limit is not None and request.limit < 1:
        raise CalibrationError(
            "--calibration-limit must be at least 1", hint="Leave it out to use all samples."
        )
    if isinstance(request.data, str | Path):
        drained = _from_path(session, request, artifact, Path(request.data))
    else:
        drained = _from_object(session, request, artifact)
    if drained.count < USUAL:
        session.notice(
            f"{drained.count} calibration samples; {USUAL} to 300 are usual for static int8", "info"
        )
    return drained


def missing(target: State) -> CalibrationError:
    """The error for a static int8 target without data."""
    return CalibrationError(
        f"{target} needs calibration data, and none was given",
        hint=(
            "Give a folder of images, a .npz/.npy or a safetensors file: --calibration PATH "
            "(Python: calibration=...). --synthetic-calibration uses random numbers instead, which "
            "proves nothing about accuracy."
        ),
    )


def _from_path(
    session: Session, request: CalibrationRequest, artifact: Artifact, path: Path
) -> CalibrationData:
    if not path.exists():
        raise CalibrationError(
            f"there is no calibration data at {path}",
            hint="Give a folder of images, a .npz/.npy or a safetensors file.",
        )
    source = source_of(session, path)
    files = source.files(path)
    root = path if path.is_dir() else path.parent
    settings = session.settings
    key = digest_key(
        {
            "kind": "calibration",
            "source": session.implementation_key(
                "calibration_sources", source.name, source.requirements
            ),
            "files": digest_files(files, root),
            "inputs": encode(artifact.inputs),
            "transform": encode(dict(request.transform)),
            "limit": request.limit,
            "seed": settings.seed,
        }
    )

    def make(folder: Path) -> Any:
        with session.stage(f"reading calibration data from {path.name}") as stage:
            answer = session.ask(
                "drain",
                "calibration_sources",
                source.name,
                {
                    "path": str(path),
                    "artifact": encode(artifact),
                    "overrides": encode(dict(request.transform)),
                    "limit": request.limit,
                    "seed": settings.seed,
                    "output": str(folder / FILE),
                },
                stage=stage,
            )
        return {**answer, "digest": digest_file(folder / FILE)}

    folder, document, _ = session.store.produce(key, make)
    return CalibrationData(
        path=folder / FILE,
        count=document["count"],
        digest=document["digest"],
        source=path.name,
        transform=document["transform"],
        limit=request.limit,
        seed=settings.seed,
    )


def source_of(session: Session, path: Path) -> CalibrationSource:
    """The reader that accepts the data.

    Raises:
        CalibrationError: there is none.
    """
    sources = session.registry.calibration_sources.values()
    found = next((s for s in sources if s.accepts(path)), None)
    if found is not None:
        return found
    if path.is_dir():
        raise CalibrationError(
            f"no images and no arrays were found in {path}",
            hint="It should hold images (.png, .jpg, .bmp, .webp) or .npy/.npz/.safetensors files.",
        )
    raise CalibrationError(
        f"{path} is no calibration data that any installed plugin reads",
        hint="Give a folder of images, .npz, .npy or .safetensors.",
    )


def _from_object(
    session: Session, request: CalibrationRequest, artifact: Artifact
) -> CalibrationData:
    from convkit.samples import drain, from_reader

    data = request.data
    samples = from_reader(data) if hasattr(data, "get_next") else data
    with session.store.scratch() as folder:
        path = folder / FILE
        count = drain(samples, artifact, path, request.limit, session.settings.seed)
        digest = digest_file(path)

        def make(target: Path) -> Any:
            path.rename(target / FILE)
            return {"count": count, "digest": digest}

        home, _, _ = session.store.produce(digest_key({"kind": "drained", "digest": digest}), make)
    return CalibrationData(
        path=home / FILE,
        count=count,
        digest=digest,
        source=type(data).__name__,
        limit=request.limit,
        seed=session.settings.seed,
    )


def _synthetic(session: Session, artifact: Artifact) -> CalibrationData:
    seed = session.settings.seed
    key = digest_key({"kind": "synthetic", "inputs": encode(artifact.inputs), "seed": seed})

    def make(folder: Path) -> Any:
        write_random(artifact, folder / FILE, SYNTHETIC_COUNT, seed)
        return {"digest": digest_file(folder / FILE)}

    folder, document, _ = session.store.produce(key, make)
    session.notice(
        "SYNTHETIC CALIBRATION: ranges come from random numbers; the result proves nothing about "
        "accuracy and should not ship",
        "warning",
    )
    return CalibrationData(
        path=folder / FILE,
        count=SYNTHETIC_COUNT,
        digest=document["digest"],
        source="random numbers",
        seed=seed,
        synthetic=True,
    )
