"""The sample's calibration images as float32 arrays of shape (1, 3, 160, 160) in 0..1."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(folder: Path) -> list[Any]:
    """All images of a folder, in name order."""
    import numpy as np
    from PIL import Image

    images = []
    for path in sorted(folder.glob("*.jpg")):
        image = Image.open(path).convert("RGB").resize((160, 160), Image.Resampling.BILINEAR)
        array = np.asarray(image, dtype=np.float32) / 255.0
        images.append(np.ascontiguousarray(array.transpose(2, 0, 1)[None]))
    return images
