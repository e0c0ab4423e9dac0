"""The `dataset.toml` of a labelled data set: a `[transform]`, and a table for each metric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError
from convkit_vision import settings

if TYPE_CHECKING:
    from convkit.plugin import Artifact, Preparation
    from convkit_vision.transform import Transform

SETTINGS = "dataset.toml"

EXAMPLES: Mapping[str, str] = {
    "detection": """\
[detection]
decoder = "yolo"  # yolo: (1, 4 + C, N) | yolov5: (1, N, 5 + C) | end-to-end: (1, K, 6)
score_threshold = 0.001
iou_threshold = 0.6
max_detections = 100
box_format = "cxcywh"  # cxcywh | xyxy | yxyx
box_units = "pixels"  # pixels of the model's input | normalized
""",
    "classification": """\
[classification]
# classes = ["cat", "dog"]  # in the order of the scores; default: folders in the order of names
""",
    "segmentation": """\
[segmentation]
classes = ["background", "road"]  # in the order of the scores
ignore = 255  # mask value that does not count
""",
}
"""What a metric's table may look like, by its name; the defaults written out."""


class PreparesAsDeclared:
    """A metric whose images are prepared as the `[transform]` of `dataset.toml` says."""

    def preparation(self, data: Path) -> Preparation | None:
        """The declared transform, for the calibration lint; None for arrays.

        Raises:
            InputError: `dataset.toml` is wrong.
        """
        from convkit_vision.transform import parse_transform

        document = read_document(data)
        if "transform" not in document:
            return None

        def parse() -> Transform:
            return parse_transform(settings.table(document, "transform"), {})

        return settings.attempt(parse, str(data / SETTINGS), InputError).preparation()


def read_settings(
    data: Path, table: str, artifact: Artifact | None = None
) -> tuple[Transform, Mapping[str, Any]]:
    """The `[transform]` of `dataset.toml`, and the metric's own table.

    Args:
        artifact: the model that is asked about; sizes in the example come from its input.

    Raises:
        InputError: the file is missing or wrong; names the file and the key. Where it is missing,
            the hint is the file to write.
    """
    from convkit_vision.transform import parse_transform

    file = data / SETTINGS
    if not file.is_file():
        raise InputError(
            f"{data} has no {SETTINGS}", hint=f"Write {file}:\n\n{example(table, artifact)}"
        )
    document = read_document(data)

    def parse() -> tuple[Transform, Mapping[str, Any]]:
        if "transform" not in document:
            raise settings.SettingError("there is no [transform]")
        declared = parse_transform(settings.table(document, "transform"), {})
        return declared, settings.table(document, table)

    return settings.attempt(parse, str(file), InputError)


def read_document(data: Path) -> Mapping[str, Any]:
    """All tables of `dataset.toml`; empty where there is none.

    Raises:
        InputError: it cannot be read, or has a table that nothing knows.
    """
    file = data / SETTINGS
    if not file.is_file():
        return {}

    def parse() -> Mapping[str, Any]:
        document = settings.read_toml(file)
        settings.check_keys(document, ("transform", "data", *EXAMPLES))
        return document

    return settings.attempt(parse, str(file), InputError)


def read_places(data: Path, known: tuple[str, ...]) -> Mapping[str, Path]:
    """The `[data]` table: where parts of the data set lie, as paths inside its folder.

    Args:
        known: the parts that this kind of data set has.

    Raises:
        InputError: an unknown key, or a place that is not there or outside.
    """

    def parse() -> dict[str, Path]:
        table = settings.table(read_document(data), "data")
        settings.check_keys(table, known, "[data] ")
        places = {}
        for key, value in table.items():
            if not isinstance(value, str):
                raise settings.SettingError(f"[data] {key} must be a path inside {data}")
            if not inside(data, data / value) or not (data / value).exists():
                raise settings.SettingError(f"[data] {key}: there is no {value!r} inside {data}")
            places[key] = data / value
        return places

    return settings.attempt(parse, str(data / SETTINGS), InputError)


def inside(home: Path, file: Path) -> bool:
    """Whether a path stays inside a folder, links followed."""
    return file.resolve().is_relative_to(home.resolve())


def example(table: str, artifact: Artifact | None) -> str:
    """A complete `dataset.toml` to start from."""
    from convkit.plugin import Artifact, State, TensorSpec
    from convkit_vision.transform import template

    if artifact is None or len(artifact.inputs) != 1:
        spec = TensorSpec("images", (1, 3, None, None), "float32")
        artifact = Artifact(Path("model"), State("onnx"), inputs=(spec,))
    return f"{template(artifact)}\n\n{EXAMPLES[table]}"
