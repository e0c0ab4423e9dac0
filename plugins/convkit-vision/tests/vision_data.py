"""Small image folders and data sets for the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convkit.plugin import Artifact, State, TensorSpec


def model(*shape: int | str | None, dtype: str = "float32", layout: str = "") -> Artifact:
    """An artifact with one input `images` of this shape."""
    spec = TensorSpec("images", shape, dtype, layout)
    return Artifact(Path("model"), State("onnx"), inputs=(spec,))


def write_image(path: Path, array: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def write_grays(folder: Path, count: int, size: int = 4) -> None:
    """RGB images, each of one gray value that is its number."""
    for value in range(count):
        write_image(folder / f"{value:03d}.png", np.full((size, size, 3), value))


def write_coco(
    folder: Path,
    boxes: Sequence[Sequence[tuple[int, Sequence[float]]]],
    size: tuple[int, int] = (40, 40),
    detection: str = "",
    transform: str = "",
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """A data set with categories 3 (cat) and 7 (dog).

    Args:
        boxes: for each image (category id, [x, y, width, height]).
        size: (width, height).
    """
    rng = np.random.default_rng(0)
    annotations: list[dict[str, Any]] = []
    for image, labelled in enumerate(boxes):
        pixels = rng.integers(0, 255, (size[1], size[0], 3))
        write_image(folder / "images" / f"{image}.png", pixels)
        for category, box in labelled:
            one = {"image_id": image + 1, "category_id": category, "bbox": list(box)}
            annotations.append({"id": len(annotations) + 1, **one, **(extra or {})})
    document = {
        "images": [
            {"id": i + 1, "file_name": f"{i}.png", "width": size[0], "height": size[1]}
            for i in range(len(boxes))
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": annotations,
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    settings = f"[transform]\nresize = [40, 40]\n{transform}\n[detection]\n{detection}\n"
    (folder / "dataset.toml").write_text(settings)
    return folder


def yolo(found: Sequence[tuple[int, Sequence[float], float]], anchors: int = 12) -> Any:
    """A raw output (1, 6, anchors) with detections (class index, [cx, cy, w, h], score)."""
    output = np.zeros((1, 6, anchors), np.float32)
    for at, (label, box, score) in enumerate(found):
        output[0, :4, at] = box
        output[0, 4 + label, at] = score
    return output
