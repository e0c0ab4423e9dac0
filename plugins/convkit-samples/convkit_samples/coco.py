"""Scenes as files: JPEG images and COCO annotations, and back."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convkit_samples.scenes import CLASSES, SIZE, Split, scene

JPEG_QUALITY = 90


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """Encode an RGB image uint8 (height, width, 3) as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return stream.getvalue()


def read_image(source: Path | io.BytesIO) -> NDArray[np.uint8]:
    """Decode an image with Pillow to RGB uint8 (height, width, 3)."""
    with Image.open(source) as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


def write_images(split: Split, count: int, seed: int, folder: Path) -> list[str]:
    """Write scenes 0..count-1 as ``NNNNNN.jpg`` into ``folder``; return the file names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{index:06d}.jpg" for index in range(count)]
    for index, name in enumerate(names):
        (folder / name).write_bytes(jpeg(scene(split, index, seed)[0]))
    return names


def write_coco(split: Split, count: int, seed: int, folder: Path) -> Path:
    """Write ``images/*.jpg`` and ``annotations.json`` (COCO, bbox x y w h in pixels).

    Category ids are 0..9, the digits themselves. Returns the annotation file's path.
    """
    names = write_images(split, count, seed, folder / "images")
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        _, boxes, labels = scene(split, index, seed)
        for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    document = {
        "info": {"description": f"convkit-samples digit scenes, {split} split, seed {seed}"},
        "licenses": [],
        "images": [
            {"id": index + 1, "file_name": name, "width": SIZE, "height": SIZE}
            for index, name in enumerate(names)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": annotations,
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    return path
