"""Small sample models for convkit, each bundled with calibration and validation data."""

from pathlib import Path

__version__ = "0.1.0"

DATA = Path(__file__).parent / "data"
"""Folder that holds one sub-folder (a bundle) a sample model."""

DIGITS_YOLO = DATA / "digits-yolo"
"""The digit detector: ``model.pt2``, ``calibration/``, ``validation/`` and a README."""
