"""The torch module path inside an operator's name."""

from __future__ import annotations

PREFIX = "__module."
"""How OpenVINO marks a module path; names that this plugin writes keep to it."""


def scope(name: str) -> str:
    """The module path, empty where there is none.

    Reads `__module.model.22/aten::cat/Concat`, and the `/stem/conv/Conv` of torch's legacy ONNX
    exporter, where a child of a container repeats the container's name: `/body/body.0/Gemm`.
    """
    if name.startswith(PREFIX):
        path = name.removeprefix(PREFIX).partition("/")[0]
        return "" if path == "" else path
    if not name.startswith("/"):
        return ""
    path = ""
    for part in name.split("/")[1:-1]:
        container = path.rpartition(".")[2]
        repeated = bool(container) and part.startswith(container + ".")
        path += part.removeprefix(container) if repeated else ("." if path else "") + part
    return path


def scoped(module: str, name: str) -> str:
    """The name of an operator of a module; `scope` reads the path back."""
    return f"{PREFIX}{module}/{name}" if module else name
