"""Annotations in YOLO's text files: `class cx cy width height` a line, in shares of the image.

The layouts of ultralytics and Roboflow: `images/` beside `labels/`, with or without folders of
splits in or above them, and `data.yaml` (names, and the folder of the split) or `classes.txt`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit_vision import pixels
from convkit_vision.dataset import SETTINGS, inside, read_places

CONFIGS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAMES = "classes.txt"
SPLITS = ("val", "valid", "test", "train")
KEYS = ("images", "names")
SLACK = 1e-3
"""A coordinate may lie so far outside 0..1: labelling tools round."""


def find(data: Path) -> Path | None:
    """The file that names the classes; None where there is none."""
    stated = read_places(data, ("annotations", *KEYS)).get("names")
    if stated is not None:
        return stated
    places = [data / name for name in CONFIGS] + sorted(data.glob("*.y*ml"))
    places += [data / NAMES, data / "labels" / NAMES]
    return next((file for file in places if file.is_file()), None)


def read(data: Path, config: Path, limit: int | None) -> tuple[dict[str, Any], list[Path]]:
    """A COCO document of the first `limit` images in the order of their paths, and their files.
    Category ids are the class numbers.

    Raises:
        InputError: no images, a label that means nothing, or names that cannot be read.
    """
    document = _yaml(config) if config.suffix in (".yaml", ".yml") else {}
    names = _names(config, document)
    files = _images(data, config, document)[:limit]
    if not files:
        raise InputError(
            f"{data} holds no image ({', '.join(pixels.SUFFIXES)})",
            hint=f"Say where the images lie in {data / SETTINGS}: [data] images = ....",
        )
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, file in enumerate(files, start=1):
        width, height = pixels.size_of(file, InputError)
        images.append({"id": number, "file_name": file.name, "width": width, "height": height})
        for label, box in _boxes(label_of(data, file), names, config):
            x, y, w, h = box[0] * width, box[1] * height, box[2] * width, box[3] * height
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label,
                    "bbox": [x - w / 2, y - h / 2, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": key, "name": name} for key, name in enumerate(names)]
    truth = {
        "info": {},
        "images": images,
        "categories": categories,
        "annotations": annotations,
    }
    return truth, files


def label_of(data: Path, image: Path) -> Path:
    """Where an image's labels stand: `labels` for the last `images` of its path inside the data
    set, beside the image where there is no such folder."""
    parts = list(image.relative_to(data).parts)
    folders = parts[:-1]
    if "images" in folders:
        at = len(folders) - 1 - folders[::-1].index("images")
        parts[at] = "labels"
    return data.joinpath(*parts).with_suffix(".txt")


def _yaml(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as exc:
        raise InputError(f"{file} cannot be read: {exc}") from exc
    if not isinstance(document, Mapping):
        raise InputError(f"{file} holds no settings", hint="It needs names: [cat, dog, ...].")
    return document


def _names(config: Path, document: Mapping[str, Any]) -> list[str]:
    """The classes in the order of their numbers."""
    if not document:
        try:
            lines = config.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as exc:
            raise InputError(f"{config} cannot be read: {exc}") from exc
        names = [line.strip() for line in lines if line.strip()]
    else:
        stated = document.get("names")
        if isinstance(stated, Mapping):
            if sorted(stated) != list(range(len(stated))):
                raise InputError(f"{config}: names must be numbered from 0 without gaps")
            names = [str(stated[key]) for key in range(len(stated))]
        else:
            names = [str(n) for n in stated] if isinstance(stated, list) else []
        if "nc" in document and names and document["nc"] != len(names):
            raise InputError(f"{config}: nc is {document['nc']}, but names has {len(names)}")
    if not names:
        raise InputError(f"{config} names no classes", hint="For example names: [cat, dog].")
    return names


def _images(data: Path, config: Path, document: Mapping[str, Any]) -> list[Path]:
    stated = read_places(data, ("annotations", *KEYS)).get("images")
    if stated is not None:
        return _listed(data, stated)
    for split in SPLITS:
        places = document.get(split)
        if not places:
            continue
        texts = [places] if isinstance(places, str) else list(places)
        found = [_place(data, config, str(document.get("path") or "."), str(t)) for t in texts]
        return sorted({file for place in found for file in _listed(data, place)})
    return _listed(data, data / "images" if (data / "images").is_dir() else data)


def _place(data: Path, config: Path, root: str, text: str) -> Path:
    """A split's folder or list, as `data.yaml` names it. What that file says about places outside
    belongs to another machine, so only those inside the data set are looked at."""
    plain = Path(text)
    short = Path(*[part for part in plain.parts if part != ".."]) if plain.parts else plain
    candidates = [data / root / text, data / text, config.parent / text]
    if not plain.is_absolute():
        candidates.append(data / short)
    for place in candidates:
        if place.exists() and inside(data, place):
            return place
    raise InputError(
        f"{config} names {text!r}, which is not inside {data}",
        hint=f"Say where the images lie in {data / SETTINGS}: [data] images = ....",
    )


def _listed(data: Path, place: Path) -> list[Path]:
    """The images of a folder at any depth, or of a text file that lists them, sorted."""
    if place.is_dir():
        files = [p for p in place.rglob("*") if pixels.is_image(p.name) and p.is_file()]
        return sorted(
            data / p.resolve().relative_to(data.resolve()) for p in files if inside(data, p)
        )
    lines = place.read_text(encoding="utf-8").splitlines()
    listed = [data / line.strip() for line in lines if line.strip()]
    for file in listed:
        if not inside(data, file) or not file.is_file():
            raise InputError(f"{place} lists {file.relative_to(data)}, which is not in {data}")
    return sorted(data / p.resolve().relative_to(data.resolve()) for p in listed)


def _boxes(
    file: Path, names: Sequence[str], config: Path
) -> list[tuple[int, tuple[float, float, float, float]]]:
    """Class and box (centre and size, in shares) of each line; an image without a file has none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        raise InputError(f"{file} cannot be read: {exc}") from exc
    found = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append(_box(line.split(), names, config))
            except ValueError as exc:
                raise InputError(
                    f"{file}:{number}: {exc}",
                    hint="A line is `class cx cy width height`, all in shares of the image, or"
                    " `class x1 y1 x2 y2 x3 y3 ...` for an outline.",
                ) from exc
    return found


def _box(
    words: Sequence[str], names: Sequence[str], config: Path
) -> tuple[int, tuple[float, float, float, float]]:
    label, *values = (float(word) for word in words)
    if label != int(label) or not 0 <= label < len(names):
        raise ValueError(
            f"class {words[0]}, but {config.name} names {len(names)} classes"
            f" (0 to {len(names) - 1})"
        )
    outline = len(values) >= 6 and not len(values) % 2
    if len(values) != 4 and not outline:
        raise ValueError(f"{len(words)} values")
    if not all(math.isfinite(v) and -SLACK <= v <= 1 + SLACK for v in values):
        raise ValueError("a coordinate outside 0..1")
    if not outline:
        x, y, w, h = values
        return int(label), (x, y, w, h)
    xs, ys = values[::2], values[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return int(label), ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
