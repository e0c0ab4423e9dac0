"""Folders of images as calibration data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import CalibrationError
from convkit.plugin import Artifact, Preparation, TensorSpec
from convkit_vision import pixels, settings
from convkit_vision.dataset import EXAMPLES
from convkit_vision.dataset import SETTINGS as LABELLED

if TYPE_CHECKING:
    from convkit_vision.transform import Transform

SETTINGS = "calibration.toml"


class ImageSource:
    """Reads a folder of images with a transform declared in `calibration.toml`, which lies in the
    folder or beside it, or given as flags. The `dataset.toml` of a labelled data set serves too."""

    name = "vision.images"
    requirements: tuple[str, ...] = ("pillow", "numpy")

    def accepts(self, path: Path) -> bool:
        """Whether the folder holds an image, at any depth; the search ends at the first one."""
        return path.is_dir() and next(_walk(_home(path)), None) is not None

    def files(self, path: Path) -> tuple[Path, ...]:
        """All images and the `calibration.toml`, sorted."""
        found = _settings_file(path)
        return tuple(sorted([*_walk(_home(path)), *([found] if found else [])]))

    def transform(self, path: Path, artifact: Artifact, overrides: Mapping[str, Any]) -> Transform:
        """The declared transform.

        Raises:
            CalibrationError: none declared (the hint is the file to write), or wrong.
        """
        from convkit_vision.transform import template

        found = _settings_file(path)
        if found is None and not overrides:
            raise CalibrationError(
                f"{path} holds images, but nothing says how they become the model's input",
                hint=f"Write {path / SETTINGS} with the transform that the model was trained"
                f" with:\n\n{template(artifact)}\n",
            )
        return read_transform(found, overrides)

    def describe(self, path: Path, artifact: Artifact, overrides: Mapping[str, Any]) -> str:
        """The transform in words, for `CalibrationData.transform`."""
        return self.transform(path, artifact, overrides).describe()

    def preparation(
        self, path: Path, artifact: Artifact, overrides: Mapping[str, Any]
    ) -> Preparation | None:
        """The declared transform, for the calibration lint."""
        return self.transform(path, artifact, overrides).preparation()

    def read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
        seed: int,
    ) -> Iterator[tuple[Any, ...]]:
        """Yield `(images,)` as `artifact.inputs` wants it; a model with a fixed batch of B takes B
        images per sample, and the last images that do not fill a batch are left out.

        The `limit` images are chosen by `seed` and their names; a larger limit adds to the choice
        of a smaller one.

        Raises:
            CalibrationError: no image, an unreadable one, no transform, or a shape that the model
                does not take. What concerns the request as a whole is raised before the first one.
        """
        chosen = choose(_names(path), limit, seed)
        return (sample for _, sample in self._read(path, artifact, overrides, chosen))

    def samples(
        self, path: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The first images in the order of their paths, each with its path inside the folder; of a
        model with a fixed batch beyond 1, the paths of a batch are joined by line breaks.

        Raises:
            CalibrationError: see `read`.
        """
        return self._read(path, artifact, {}, sorted(_names(path))[:limit])

    def _read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        chosen: list[str],
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        spec = image_input(artifact)
        transform = self.transform(path, artifact, overrides)
        if not chosen:
            raise CalibrationError(
                f"{path} holds no image ({', '.join(pixels.SUFFIXES)})",
                hint="Give a folder of images, or arrays as .npz, .npy or .safetensors.",
            )
        batch = spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else 1
        if len(chosen) < batch:
            raise CalibrationError(
                f"{path} gives {len(chosen)} images, but one batch of input {spec.name} is {batch}"
            )
        files = [path / name for name in chosen]
        names = ["\n".join(chosen[at : at + batch]) for at in range(0, len(chosen), batch)]
        return zip(names, _batches(files, spec, transform, batch), strict=False)


def image_input(artifact: Artifact) -> TensorSpec:
    """The model's only input.

    Raises:
        CalibrationError: it has none or several.
    """
    if len(artifact.inputs) == 1:
        return artifact.inputs[0]
    inputs = ", ".join(f"{spec.name} {spec.shape}" for spec in artifact.inputs) or "none known"
    raise CalibrationError(
        f"images can feed a model with one input, but its inputs are {inputs}",
        hint="Save one array per input, keyed by its name, in an .npz file and give that.",
    )


def read_transform(file: Path | None, overrides: Mapping[str, Any]) -> Transform:
    """The `[transform]` of a `calibration.toml`, overridden.

    Raises:
        CalibrationError: naming the file and the key.
    """
    from convkit_vision.transform import parse_transform

    declared: Mapping[str, Any] = {}
    if file is not None:
        document = settings.attempt(lambda: settings.read_toml(file), str(file), CalibrationError)
        declared = settings.attempt(lambda: _only_transform(document), str(file), CalibrationError)
        # On its own first, so that a mistake is laid at the right door.
        where = f"{file}: [transform]"
        settings.attempt(lambda: parse_transform(declared, {}), where, CalibrationError)
    return settings.attempt(
        lambda: parse_transform(declared, overrides), "transform flags", CalibrationError
    )


def choose(names: Iterable[str], limit: int | None, seed: int) -> list[str]:
    """`limit` names in an order that depends on the seed and the names only.

    Ordering by a digest makes it independent of the file system and of Python's version, and a
    smaller choice the beginning of a larger one.
    """
    from hashlib import sha256

    return sorted(names, key=lambda name: sha256(f"{seed}/{name}".encode()).digest())[:limit]


def _only_transform(document: Mapping[str, Any]) -> Mapping[str, Any]:
    settings.check_keys(document, ("transform", "data", *EXAMPLES))
    return settings.table(document, "transform")


def _settings_file(path: Path) -> Path | None:
    # `..` and not `parent`: like the images, the file is then named relative to the folder.
    candidates = (path / SETTINGS, path / ".." / SETTINGS, path / LABELLED)
    return next((file for file in candidates if file.is_file()), None)


def _home(path: Path) -> Path:
    """Where the images lie: of a labelled data set with masks and the like beside them, in
    `images/`."""
    labelled = (path / LABELLED).is_file() and (path / "images").is_dir()
    return path / "images" if labelled else path


def _names(path: Path) -> list[str]:
    """Images by their paths inside the folder, in no particular order."""
    return [file.relative_to(path).as_posix() for file in _walk(_home(path))]


def _walk(path: Path) -> Iterator[Path]:
    """Images at any depth, in no particular order; hidden folders are skipped."""
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if pixels.is_image(name):
                yield Path(folder, name)


def _batches(
    files: Iterable[Path], spec: TensorSpec, transform: Transform, batch: int
) -> Iterator[tuple[Any, ...]]:
    import numpy as np

    images: list[Any] = []
    for file in files:
        image = pixels.load(file, CalibrationError)
        try:
            array = pixels.to_array(image, transform)
        except ValueError as exc:
            raise CalibrationError(f"image {file}: {exc}") from exc
        images.append(pixels.fit(array, spec, transform, CalibrationError))
        if len(images) == batch:
            yield (images[0] if batch == 1 else np.concatenate(images),)
            images = []
