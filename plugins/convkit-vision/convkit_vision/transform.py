"""How an image becomes a model's input: a declared value, parsed from TOML and from flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from convkit.plugin import Artifact, Preparation, TensorSpec
from convkit_vision import settings
from convkit_vision.settings import SettingError

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "area", "box")
MODES = ("stretch", "letterbox", "center-crop")
CHANNELS = ("RGB", "BGR", "gray")
LAYOUTS = ("NCHW", "NHWC")
MAX_SIDE = 1 << 15


@dataclass(frozen=True)
class Transform:
    """Decode, resize, map the value range, normalize, order the axes.

    Attributes:
        resize: (height, width); one int is the length of the *shorter* side, with the aspect ratio
            kept; None leaves the size alone.
        interpolation: Pillow's filters, which widen when they shrink an image (antialiasing);
            `area` is Pillow's box filter.
        mode: `stretch` resizes to exactly `resize`; `letterbox` resizes to fit inside it with the
            aspect ratio kept and fills the rest, image in the centre; `center-crop` resizes and
            then cuts `crop` out of the middle.
        crop: (height, width), for `center-crop` only.
        pad: letterbox fill, a pixel value 0..255.
        range: what the pixel values 0 and 255 are mapped to.
        mean, std: one number per channel (or one for all); (x - mean) / std after the mapping.
        channels: order of the channels; `gray` has one (ITU-R 601 luma).
        layout: order of the axes.
    """

    resize: int | tuple[int, int] | None = None
    interpolation: str = "bilinear"
    mode: str = "stretch"
    crop: tuple[int, int] | None = None
    pad: int = 114
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: str = "RGB"
    layout: str = "NCHW"

    def __post_init__(self) -> None:
        """Check what concerns several settings at once.

        Raises:
            SettingError: they contradict each other.
        """
        if self.mode == "letterbox" and not isinstance(self.resize, tuple):
            raise SettingError("mode letterbox needs resize = [height, width]")
        if self.mode == "center-crop" and self.crop is None:
            raise SettingError("mode center-crop needs crop = [height, width]")
        if self.mode != "center-crop" and self.crop is not None:
            raise SettingError(f"crop is for mode center-crop, not for {self.mode}")
        depth = 1 if self.channels == "gray" else 3
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, depth):
                raise SettingError(f"{key} must hold {depth} numbers for {self.channels}")
        if 0.0 in self.std:
            raise SettingError("std must not be 0")
        if self.range[0] == self.range[1]:
            raise SettingError("range must span more than one value")

    def describe(self) -> str:
        """The transform in words, complete, for manifests and reports."""
        size = self.resize
        if size is None:
            words = ["size kept"]
        elif isinstance(size, int):
            words = [f"shorter side resized to {size} ({self.interpolation})"]
        else:
            verb = {"letterbox": "letterboxed", "center-crop": "resized"}.get(
                self.mode, "stretched"
            )
            words = [f"{verb} to {size[0]}x{size[1]} ({self.interpolation})"]
        if self.mode == "letterbox":
            words[0] += f" on {self.pad}"
        if self.crop is not None:
            words.append(f"centre crop {self.crop[0]}x{self.crop[1]}")
        words += [self.channels, f"{self.range[0]:g}..{self.range[1]:g}"]
        if any(self.mean):
            words.append("mean " + "/".join(f"{m:g}" for m in self.mean))
        if any(s != 1.0 for s in self.std):
            words.append("std " + "/".join(f"{s:g}" for s in self.std))
        return ", ".join([*words, self.layout])

    def preparation(self) -> Preparation:
        """The transform as the calibration lint compares it."""
        return Preparation(
            resize=self.mode if isinstance(self.resize, tuple) or self.crop else "",
            channels=self.channels,
            layout=self.layout,
            range=self.range,
            mean=self.mean,
            std=self.std,
        )


KEYS = tuple(field.name for field in fields(Transform))
_TEXT = {
    "interpolation": INTERPOLATIONS,
    "mode": MODES,
    "channels": CHANNELS,
    "layout": LAYOUTS,
}


def parse_transform(table: Mapping[str, Any], overrides: Mapping[str, Any]) -> Transform:
    """Build a transform from a `[transform]` table and from flags, which win.

    Values of `overrides` may be typed, or text as typed on a command line (`160x160`, `0,1`).

    Raises:
        SettingError: an unknown key, a wrong type or value, or a contradiction.
    """
    settings.check_keys(table, KEYS)
    settings.check_keys(overrides, KEYS)
    declared = dict(table)
    if "mode" in overrides:
        declared.pop("crop", None)  # belongs to the mode that the flag replaces
    merged = {key: _value(key, value) for key, value in declared.items()}
    for key, value in overrides.items():
        plain = key in _TEXT or not isinstance(value, str)
        merged[key] = _value(key, value if plain else settings.parse_numbers(key, value))
    return replace(Transform(), **merged) if merged else Transform()


def _value(key: str, value: Any) -> Any:
    """One setting, checked and in its own type."""
    if key in _TEXT:
        return settings.choice(key, value, _TEXT[key])
    if key == "pad":
        single = value[0] if isinstance(value, list) and len(value) == 1 else value
        return settings.integer(key, single, 0, 255)
    if key == "range":
        return settings.numbers(key, value, (2,))
    if key in ("mean", "std"):
        return settings.numbers(key, value, (1, 3))
    items = list(value) if isinstance(value, list | tuple) else [value]
    if len(items) not in (1, 2):
        raise SettingError(f"{key} must be [height, width] or one number, not {value!r}")
    sides = tuple(settings.integer(key, item, 1, MAX_SIDE) for item in items)
    if len(sides) == 2:
        return sides
    return sides[0] if key == "resize" else (sides[0], sides[0])


def image_axes(spec: TensorSpec) -> tuple[str, int | None, int | None, int | None]:
    """The layout of an image input and its (height, width, channels) where they are fixed.

    Without a recorded layout, an axis of length 1 or 3 tells where the channels are; NCHW is
    assumed where that says nothing.
    """
    layout = spec.layout
    if layout not in LAYOUTS:
        last = len(spec.shape) == 4 and spec.shape[3] in (1, 3) and spec.shape[1] not in (1, 3)
        layout = "NHWC" if last else "NCHW"
    sizes = [size if isinstance(size, int) else None for size in spec.shape]
    sizes += [None] * (4 - len(sizes))
    _, *rest = sizes[:4]
    if layout == "NCHW":
        return layout, rest[1], rest[2], rest[0]
    return layout, rest[0], rest[1], rest[2]


def template(artifact: Artifact) -> str:
    """A complete `[transform]` table to start from, sizes filled in from the model's input."""
    layout, height, width, depth = image_axes(artifact.inputs[0])
    note = "height, width" if height and width else "height, width: the model takes any size"
    channels, count = ("gray", 1) if depth == 1 else ("RGB", 3)
    return "\n".join(
        [
            "[transform]",
            f"resize = [{height or 224}, {width or 224}]  # {note}",
            'interpolation = "bilinear"  # nearest | bilinear | bicubic | lanczos | area',
            'mode = "stretch"  # stretch | letterbox | center-crop',
            "# crop = [224, 224]  # for center-crop: resize first, then cut this out of the middle",
            "pad = 114  # letterbox fill, 0..255",
            "range = [0.0, 1.0]  # what pixel values 0 and 255 become",
            f"mean = {[0.0] * count}  # after the range; ImageNet: [0.485, 0.456, 0.406]",
            f"std = {[1.0] * count}  # ImageNet: [0.229, 0.224, 0.225]",
            f'channels = "{channels}"  # RGB | BGR | gray',
            f'layout = "{layout}"  # NCHW | NHWC',
        ]
    )
