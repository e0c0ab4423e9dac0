"""Image files to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from convkit.errors import UsageError
from convkit.plugin import TensorSpec

if TYPE_CHECKING:
    from convkit_vision.transform import Transform

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP"}
)
"""File suffixes, and the decoders that are allowed to open such a file whatever it contains."""


def is_image(name: str) -> bool:
    """Whether a file name is that of an image; hidden files are not."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def load(path: Path, error: type[UsageError]) -> Any:
    """Decode to a Pillow image in mode `RGB` or `L`, turned upright by its EXIF orientation.

    Only the decoders of `SUFFIXES` are tried, so that a file that lies about what it is cannot
    reach Pillow's rarer parsers.

    Raises:
        error: unreadable, truncated, or of more than 8 bits per channel; names the file.
    """
    from PIL import Image, ImageOps

    if not path.is_file():
        raise error(f"image {path} is missing", hint="The labels or the list of files name it.")
    try:
        with Image.open(path, formats=sorted(set(SUFFIXES.values()))) as image:
            mode = image.mode
            if not mode.startswith(("I", "F")):
                upright = ImageOps.exif_transpose(image)
                return upright.convert("L" if mode in ("1", "L", "LA") else "RGB")
    except Exception as exc:  # Pillow's decoders raise almost anything on a damaged file
        raise error(
            f"image {path} cannot be read: {exc}", hint="Remove the file or replace it."
        ) from exc
    raise error(
        f"image {path} has more than 8 bits per channel (mode {mode})",
        hint="Convert it to 8 bits, or give the samples as arrays (.npz).",
    )


def size_of(path: Path, error: type[UsageError]) -> tuple[int, int]:
    """Width and height of an image as `load` would give it, from its header.

    Raises:
        error: unreadable; names the file.
    """
    from PIL import ExifTags, Image

    try:
        with Image.open(path, formats=sorted(set(SUFFIXES.values()))) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            width, height = image.size
    except Exception as exc:
        raise error(
            f"image {path} cannot be read: {exc}", hint="Remove the file or replace it."
        ) from exc
    return (height, width) if turned else (width, height)


def to_array(image: Any, transform: Transform) -> Any:
    """Apply the transform to a Pillow image.

    Returns:
        float32 (1, C, H, W) or (1, H, W, C), C contiguous.

    Raises:
        ValueError: the crop is larger than the image.
    """
    import numpy as np
    from PIL import Image

    from convkit_vision.geometry import place

    gray = transform.channels == "gray"
    image = image.convert("L" if gray else "RGB")
    width, height = image.size
    spot = place(width, height, transform)
    if spot.resized != image.size:
        name = "box" if transform.interpolation == "area" else transform.interpolation
        image = image.resize(spot.resized, Image.Resampling[name.upper()])
    if spot.canvas != spot.resized:
        fill = transform.pad if gray else (transform.pad,) * 3
        canvas = Image.new(image.mode, spot.canvas, fill)
        canvas.paste(image, (spot.left, spot.top))  # negative offsets cut
        image = canvas
    pixels = np.asarray(image, np.float32).reshape(spot.canvas[1], spot.canvas[0], -1)
    if transform.channels == "BGR":
        pixels = pixels[..., ::-1]
    low, high = (np.float32(v) for v in transform.range)
    # In this order 0..1 is exactly pixel / 255, and 0..255 exactly the pixel.
    values = pixels * (high - low) / np.float32(255) + low
    mean, std = (np.asarray(v, np.float32) for v in (transform.mean, transform.std))
    values = (values - mean) / std
    if transform.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[None], np.float32)


def fit(array: Any, spec: TensorSpec, transform: Transform, error: type[UsageError]) -> Any:
    """Check one transformed image against the model's input and give it the input's dtype.

    Raises:
        error: with both shapes, or naming values that the dtype cannot hold.
    """
    import numpy as np

    wanted = tuple(spec.shape)
    fits = len(wanted) == 4 and all(
        size == want
        for size, want in zip(array.shape[1:], wanted[1:], strict=True)
        if isinstance(want, int)
    )
    if not fits:
        raise error(
            f"the transform makes images of shape {array.shape}, but input {spec.name} takes"
            f" ({', '.join('any' if w is None else str(w) for w in wanted)})",
            hint=_advice(spec, transform),
        )
    # A quantized input that carries a scale is given floats; the session quantizes them.
    dtype = np.dtype("float32" if spec.scale is not None else spec.dtype)
    cast = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, array):
        raise error(
            f"input {spec.name} takes {dtype}, but the transform makes other values, such as"
            f" {float(array.min()):g} and {float(array.max()):g}",
            hint="Declare range = [0, 255] without mean and std for an input of raw pixels.",
        )
    return cast


def _advice(spec: TensorSpec, transform: Transform) -> str:
    from convkit_vision.transform import image_axes

    if len(spec.shape) != 4:
        return "Images need an input with four axes; give the samples as arrays (.npz) instead."
    layout, height, width, depth = image_axes(spec)
    if layout != transform.layout:
        return f'The input looks like {layout}: declare layout = "{layout}".'
    if depth not in (None, 1 if transform.channels == "gray" else 3):
        return f'The input has {depth} channels: declare channels = "gray" or "RGB" accordingly.'
    if height and width:
        key = "crop" if transform.mode == "center-crop" else "resize"
        return f"Declare {key} = [{height}, {width}]."
    return "Compare resize, channels and layout with the model's input."
