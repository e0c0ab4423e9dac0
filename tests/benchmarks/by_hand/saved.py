"""onnx -> tf-saved by onnx-tf; runs in the isolated environment, so it imports nothing of ours."""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Write `hand-saved/`."""
    import onnx
    from onnx_tf.backend import prepare

    prepare(onnx.load(folder / "hand.onnx")).export_graph(str(folder / "hand-saved"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
