"""Small models that the project trains itself, to analyze and to quantize.

Each is trained from a seed on data that comes with scikit-learn or is made up here; nothing is
downloaded, nothing is bundled. `python -m tests.models NAME` trains one; what is trained stays in
`build/models/`, under a digest of the code that decides its weights.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.models.cache import trained

NAMES = ("cnn", "depthwise", "residual", "vit", "text", "yolov8n")


def model(name: str) -> Path:
    """The folder of a trained model, which has its file and its data; trained if need be."""
    module = import_module(f"tests.models.{name}")
    return trained(name, module.train, module.DEPENDS_ON, module.DISTRIBUTIONS)
