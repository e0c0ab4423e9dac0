"""One PNG that shows what several detectors see in the same images, beside the labelled objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCORE = 0.25
"""Weaker detections are not drawn, though they count in mAP."""

CELL = 320
MARGIN, GAP, HEADER, CAPTION, LEGEND = 24, 16, 44, 26, 30
BACKGROUND, INK, FAINT, RULE = "#ffffff", "#1b1f24", "#6a737d", "#d8dee4"
GOOD, BAD = "#1a7f37", "#cf222e"

# Distinct on dark and light pictures alike; repeats beyond twelve classes.
PALETTE = (
    "#e6194b",
    "#3cb44b",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#0a9396",
    "#f032e6",
    "#9a6324",
    "#808000",
    "#e0a800",
    "#000075",
    "#800000",
)

Entry = Mapping[str, Any]
"""A COCO annotation or result: `bbox` x y width height, `category_id`, perhaps `score`."""


@dataclass(frozen=True)
class Panel:
    """One column of the picture.

    Attributes:
        title: above the column.
        rows: what to draw on each image.
        captions: text below each image, and its colour.
    """

    title: str
    rows: Sequence[Sequence[Entry]]
    captions: Sequence[tuple[str, str]]

    @classmethod
    def of_truth(cls, truth: Sequence[Sequence[Entry]]) -> Panel:
        """The labelled objects."""
        return cls("ground truth", truth, [(_count(len(row), "object"), FAINT) for row in truth])

    @classmethod
    def of_model(
        cls, title: str, found: Sequence[Sequence[Entry]], truth: Sequence[Sequence[Entry]]
    ) -> Panel:
        """A model's detections above `SCORE`, with the captions `n of m found, k false`."""
        rows = [[entry for entry in row if entry["score"] >= SCORE] for row in found]
        captions = []
        for row, objects in zip(rows, truth, strict=True):
            right = _right(row, objects)
            wrong = len(row) - right
            text = f"{right} of {len(objects)} found" + (f", {wrong} false" if wrong else "")
            captions.append((text, GOOD if right == len(objects) and not wrong else BAD))
        return cls(title, rows, captions)


def draw_comparison(
    images: Sequence[Any], columns: Sequence[Panel], names: Mapping[int, str], path: Path
) -> None:
    """Write the PNG: one row per image, one column per panel, a legend of the classes below.

    Args:
        images: Pillow images.
        names: category id to name; the order decides the colours.
    """
    from PIL import Image, ImageDraw, ImageFont

    used = {e["category_id"] for panel in columns for row in panel.rows for e in row}
    colours = {key: PALETTE[i % len(PALETTE)] for i, key in enumerate(names)}
    width = 2 * MARGIN + len(columns) * (CELL + GAP) - GAP
    title_font, font, small = (ImageFont.load_default(size) for size in (18, 14, 13))
    legend = _legend_lines([k for k in names if k in used], names, width - 2 * MARGIN, small)
    foot = (len(legend) + 1) * LEGEND + MARGIN
    height = MARGIN + HEADER + len(images) * (CELL + CAPTION + GAP) + foot
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, panel in enumerate(columns):
        left = MARGIN + column * (CELL + GAP)
        title = _shortened(panel.title, title_font, CELL)
        draw.text((left, MARGIN), title, fill=INK, font=title_font)
        for row, image in enumerate(images):
            top = MARGIN + HEADER + row * (CELL + CAPTION + GAP)
            sheet.paste(_cell(image, panel.rows[row], names, colours, small), (left, top))
            text, colour = panel.captions[row]
            draw.text((left, top + CELL + 5), text, fill=colour, font=font)
    top = height - foot
    draw.line((MARGIN, top - 4, width - MARGIN, top - 4), fill=RULE)
    note = f"drawn from a score of {SCORE:g} on; found: same class, IoU at least 0.5"
    draw.text((MARGIN, height - MARGIN - 17), note, fill=FAINT, font=small)
    for line in legend:
        left = MARGIN
        for key, advance in line:
            draw.rounded_rectangle((left, top + 9, left + 14, top + 23), 3, fill=colours[key])
            draw.text((left + 21, top + 8), names[key], fill=INK, font=small)
            left += advance
        top += LEGEND
    sheet.save(path, "PNG", optimize=True)


def _cell(
    image: Any,
    entries: Sequence[Entry],
    names: Mapping[int, str],
    colours: Mapping[int, str],
    font: Any,
) -> Any:
    """The image, enlarged or reduced into a square cell, with boxes and labels on it."""
    from PIL import Image, ImageDraw

    scale = CELL / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    view = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    cell = Image.new("RGB", (CELL, CELL), "#eef1f4")
    left, top = (CELL - size[0]) // 2, (CELL - size[1]) // 2
    cell.paste(view, (left, top))
    draw = ImageDraw.Draw(cell)
    corners = []
    for entry in entries:
        x, y, w, h = (value * scale for value in entry["bbox"])
        box = (left + x, top + y, left + x + max(w, 1), top + y + max(h, 1))
        corners.append(box)
        # A white rim, since any colour vanishes on some background.
        rim = (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1)
        draw.rectangle(rim, outline="#ffffff", width=4)
        draw.rectangle(box, outline=colours.get(entry["category_id"], INK), width=2)
    taken: list[tuple[float, float, float, float]] = []
    # Labels last, so that no box runs through them.
    for entry, box in zip(entries, corners, strict=True):
        text = names.get(entry["category_id"], str(entry["category_id"]))
        if "score" in entry:
            text += f" {entry['score']:.2f}"
        tag = _tag_place(draw.textlength(text, font=font) + 8, 17, box, taken)
        taken.append(tag)
        colour = colours.get(entry["category_id"], INK)
        draw.rectangle(tag, fill=colour)
        draw.text((tag[0] + 4, tag[1] + 1), text, fill="#ffffff", font=font)
    return cell


def _tag_place(
    width: float,
    height: float,
    box: tuple[float, float, float, float],
    taken: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float, float]:
    """A place for a label at its box: above it if it can be, and where no other label lies."""
    x = min(max(box[0], 0), CELL - width)
    right = min(max(box[2] - width, 0), CELL - width)
    spots = [(x, box[1] - height), (x, box[3]), (right, box[1] - height), (right, box[3])]
    spots += [(x, box[1]), (right, box[3] - height)]
    places = [(a, b, a + width, b + height) for a, b in spots if 0 <= b <= CELL - height]
    places = places or [(x, 0.0, x + width, height)]
    free = (
        p
        for p in places
        if not any(p[0] < t[2] and t[0] < p[2] and p[1] < t[3] and t[1] < p[3] for t in taken)
    )
    return next(free, places[0])


def _right(found: Sequence[Entry], truth: Sequence[Entry]) -> int:
    """How many objects are found: same class and IoU of at least 0.5, better scores first."""
    free = list(truth)
    right = 0
    for entry in sorted(found, key=lambda e: -e["score"]):
        rivals = [t for t in free if t["category_id"] == entry["category_id"]]
        best = max(rivals, key=lambda t: _iou(entry["bbox"], t["bbox"]), default=None)
        if best is not None and _iou(entry["bbox"], best["bbox"]) >= 0.5:
            free.remove(best)
            right += 1
    return right


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU of two boxes x y width height."""
    sides = [max(0.0, min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    inter = sides[0] * sides[1]
    union = a[2] * a[3] + b[2] * b[3] - inter
    return inter / union if union > 0 else 0.0


def _legend_lines(
    keys: Sequence[int], names: Mapping[int, str], width: int, font: Any
) -> list[list[tuple[int, int]]]:
    """Classes broken into lines, each with the horizontal space that it takes."""
    lines: list[list[tuple[int, int]]] = []
    left = width
    for key in keys:
        advance = 21 + round(font.getlength(names[key])) + 24
        if left + advance > width:
            lines.append([])
            left = 0
        lines[-1].append((key, advance))
        left += advance
    return lines


def _shortened(text: str, font: Any, width: int) -> str:
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip(" …") + "…" if len(text) > 2 else ""
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
