"""Frameworks that report home are silenced before any test imports them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # pytest imports test files by path

if find_spec("nncf") is not None:
    from convkit_nncf import tool

    tool.load()
