"""A picture as a `data:` address, made smaller where it would weigh the page down.

There is no imaging library among the report's dependencies. The size of a PNG stands at a fixed
place of the file, and the renderer that brings Vega's bundle also renders an SVG that holds the
picture, at any size.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path

from convkit.errors import InputError

LARGEST = 1_500_000
"""Bytes that a picture may have on the page."""

WIDEST = 2400
"""Pixels of the longer side after it was made smaller."""

QUALITY = 85

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def data_address(path: Path) -> str:
    """The picture (PNG or JPEG) as it is, or as a smaller JPEG.

    Raises:
        InputError: it cannot be read, or is neither.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the picture {path} cannot be read: {error.strerror}") from error
    if content.startswith(_JPEG):
        return _address("jpeg", content)
    if not content.startswith(_PNG) or len(content) < 24:
        raise InputError(f"{path} is no PNG and no JPEG picture")
    if len(content) <= LARGEST:
        return _address("png", content)
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    return _address("jpeg", _smaller(content, width, height))


def _smaller(content: bytes, width: int, height: int) -> bytes:
    """At most `LARGEST` bytes, by as many steps as it takes."""
    import vl_convert

    source = _address("png", content)
    scale = min(1.0, WIDEST / max(width, height, 1))
    while True:
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
        drawn: bytes = vl_convert.svg_to_jpeg(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}">'
            f'<image href="{source}" width="{w}" height="{h}"/></svg>',
            scale=1,
            quality=QUALITY,
        )
        if len(drawn) <= LARGEST or max(w, h) < 64:
            return drawn
        scale *= min(0.9, math.sqrt(LARGEST / len(drawn)))


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
