"""Where a trained model lies: in a folder named after what decides its weights."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2] / "build" / "models"
DONE = "done"
"""The file that says that a folder is complete."""


def digest(modules: Iterable[str], distributions: Sequence[str]) -> str:
    """A digest of the named modules' code, without comments, docstrings and imports,
    and of versions."""
    state = hashlib.sha256()
    for module in modules:
        spec = find_spec(module)
        assert spec is not None and spec.origin is not None, module
        tree = ast.parse(Path(spec.origin).read_text("utf-8"))
        state.update(ast.dump(_bare(tree)).encode())
    for name in sorted(distributions):
        state.update(f"{name}=={version(name)}\n".encode())
    return state.hexdigest()[:12]


def _bare(tree: ast.Module) -> ast.Module:
    """Without docstrings and the imports at the top, whose order decides nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [part for part in node.body if not _is_text(part)]
    tree.body = [part for part in tree.body if not isinstance(part, ast.Import | ast.ImportFrom)]
    return tree


def _is_text(part: ast.stmt) -> bool:
    return (
        isinstance(part, ast.Expr)
        and isinstance(part.value, ast.Constant)
        and isinstance(part.value.value, str)
    )


def trained(
    name: str,
    train: Callable[[Path], None],
    modules: Iterable[str],
    distributions: Sequence[str],
) -> Path:
    """The folder with everything that `train` writes, made once.

    `train` is given a folder that is `NAME-DIGEST.part` until training is over; what a killed run
    left there is there again, so a script may resume from its own checkpoints.
    """
    folder = ROOT / f"{name}-{digest(modules, distributions)}"
    if not (folder / DONE).is_file():
        part = folder.with_name(f"{folder.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        train(part)
        (part / DONE).touch()
        os.replace(part, folder)
    return folder
