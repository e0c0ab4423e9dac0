"""Make a torchvision importable whose compiled operators do not load beside this torch.

Some machines offer torch as a CPU build and torchvision only as a CUDA build. Importing that
torchvision then fails ("operator torchvision::nms does not exist"), and with it timm and
onnx2torch, though none of the models in the tests uses a compiled operator. `make venv` runs this
script: where torchvision cannot be imported, it gives the virtual environment a hook that declares
the missing operators just before torchvision's own first import. Where torchvision is sound,
nothing is done. This is for the tests' environment; nothing of it reaches a user's.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

NAME = "_convkit_tests_torchvision"
HOOK = '''\
"""Declares torchvision's compiled operators, which do not load here; see tests/support."""

import sys


class Finder:
    libraries = []

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(cls)
            import torch

            library = torch.library.Library("torchvision", "DEF")
            boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            for operator in ("nms", "qnms"):
                library.define(operator + boxes)
            cls.libraries.append(library)
        return None


sys.meta_path.insert(0, Finder)
'''


def main() -> None:
    """Look, and repair where it is needed."""
    if find_spec("torchvision") is None or _imports():
        return
    site = Path(sysconfig.get_path("purelib"))
    (site / f"{NAME}.py").write_text(HOOK, "utf-8")
    (site / f"{NAME}.pth").write_text(f"import {NAME}\n", "utf-8")
    if not _imports():
        sys.exit("torchvision cannot be imported, and declaring its operators does not help")


def _imports() -> bool:
    command = [sys.executable, "-c", "import torchvision"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main()
