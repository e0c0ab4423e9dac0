"""Refuse a torch.export archive that would run code when `torch.export.load` reads it.

Besides pickles, torch turns several *texts* of `models/<name>.json` into code: symbolic expressions
go through `sympy.sympify` (an `eval`), guards and node names are pasted into generated Python that
is `exec`-uted, operator targets are resolved attribute by attribute from `torch`, and tree specs
import modules by name. Every one of them is held to a grammar here before torch sees the file.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from convkit.errors import InputError, UnsafeError

TRUST_HINT = "If you trust where the file comes from, give --trust; it may then run any code."

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ARGUMENT = re.compile(r"\*{0,2}[A-Za-z_]\w*", re.ASCII)
# No quotes, brackets, backslashes, line breaks or semicolons: nothing that can end a literal.
_PLAIN = re.compile(r"[\w.\-+: /@*$]*")
_SCOPE = re.compile(r"[^\"'\\\n\r]*")

_OPERATORS = frozenset(
    "add and_ eq floordiv ge getitem gt le lshift lt mod mul ne neg not_ or_ pos pow rshift sub "
    "truediv xor".split()
)
_PYTHON_TARGETS = frozenset({"torch._C._set_grad_enabled", "torch._sym_sqrt"})
_HIGHER_ORDER = frozenset(
    "associative_scan auto_functionalized auto_functionalized_v2 cond flex_attention hints_wrapper "
    "invoke_subgraph map map_impl scan while_loop wrap_with_autocast "
    "wrap_with_set_grad_enabled".split()
)
_MATH_CALLS = frozenset(
    "Abs Add And CeilDiv CeilToInt CleanDiv Eq Equality Float FloatPow FloatTrueDiv FloorDiv "
    "FloorToInt Ge GreaterThan Gt Identity IntTrueDiv Integer IsNonOverlappingAndDenseIndicator "
    "LShift Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or Piecewise Pow PowByNatural "
    "PythonMod RShift Rational RoundDecimal RoundToInt StrictGreaterThan StrictLessThan Symbol "
    "ToFloat TruncToFloat TruncToInt Unequality Where Xor abs ceiling float floor int isinf isnan "
    "max min sqrt sym_float sym_int sym_max sym_min sym_not".split()
)
_TENSOR_METHODS = frozenset({"size", "stride", "storage_offset", "dim", "item"})
_NODES = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.Name,
    ast.Constant,
    ast.Call,
    ast.keyword,
    ast.Subscript,
    ast.Attribute,
    ast.Load,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
)
Pickled = tuple[str, bytes]


def check_archive(path: Path) -> None:
    """Check a `.pt2` archive of the current layout.

    Raises:
        UnsafeError: loading it would run code.
        InputError: it lacks a part or holds malformed JSON.
    """
    from torch.export.pt2_archive._package import PT2ArchiveReader

    with PT2ArchiveReader(str(path)) as archive:
        names = archive.get_file_names()
        native = [n for n in names if n.startswith("data/aotinductor/")]
        if native:
            raise UnsafeError(f"{path.name} holds compiled code ({native[0]})", hint=TRUST_HINT)
        pickled: list[Pickled] = []
        for name in names:
            if name.startswith("models/"):
                check_program(_json(path, archive.read_bytes(name)), path.name)
            elif name.startswith("data/sample_inputs/") or (
                name.startswith(("data/weights/", "data/constants/")) and name.endswith(".pt")
            ):
                pickled.append((name, archive.read_bytes(name)))
            elif name.startswith(("data/weights/", "data/constants/")) and name.endswith(".json"):
                folder = name.rpartition("/")[0] + "/"
                config = _json(path, archive.read_bytes(name))
                pickled += _pickled_payloads(path, folder, config, archive.read_bytes)
    for name, payload in pickled:
        check_pickle(name, payload, path.name)


def check_old_archive(path: Path) -> None:
    """Check a `.pt2` archive as torch 2.7 and earlier wrote it; raises as `check_archive`."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name == "serialized_exported_program.json":
                check_program(_json(path, archive.read(name)), path.name)
            elif name.startswith("serialized_"):
                check_pickle(name, archive.read(name), path.name)


def _pickled_payloads(
    path: Path, folder: str, config: Any, read: Callable[[str], bytes]
) -> list[Pickled]:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise InputError(f"{path.name} has a malformed list of weights")
    found: list[Pickled] = []
    for entry in entries.values():
        if not isinstance(entry, dict) or not isinstance(entry.get("path_name"), str):
            raise InputError(f"{path.name} has a malformed list of weights")
        part = entry["path_name"]
        if part.startswith(("custom_obj_", "opaque_obj_")):
            raise UnsafeError(f"{path.name} holds a pickled object ({part})", hint=TRUST_HINT)
        if entry.get("use_pickle"):
            name = os.path.join(folder, part)
            found.append((name, read(name)))
    return found


def check_pickle(name: str, payload: bytes, archive: str) -> None:
    """Prove that torch can read a pickle with `weights_only=True`, so that it never falls back.

    Raises:
        UnsafeError: the pickle refers to anything beyond tensors and plain containers.
    """
    import torch

    if not payload:
        return
    try:
        torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as exc:
        raise UnsafeError(
            f"{archive} holds a pickle that would run code when loaded ({name})", hint=TRUST_HINT
        ) from exc


def _json(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"{path.name} holds malformed JSON") from exc


def check_program(program: Any, archive: str) -> None:
    """Hold every text of a serialized program to its grammar.

    Raises:
        UnsafeError: naming the offending text.
    """
    try:
        _walk(program, "")
    except _UnsafeTextError as exc:
        raise UnsafeError(
            f"{archive} holds a text that could run code when loaded: {exc}", hint=TRUST_HINT
        ) from exc
    except RecursionError as exc:
        raise InputError(f"{archive} holds a program that is nested too deeply") from exc


class _UnsafeTextError(Exception):
    """Carries the offending text."""

    def __init__(self, what: str, text: object) -> None:
        super().__init__(f"{what} {str(text)[:80]!r}")


def _walk(value: Any, key: str) -> None:
    if isinstance(value, Mapping):
        if key == "metadata":
            _check_metadata(value)
            return
        for name, item in value.items():
            _match(_PLAIN, name, "key")
            _walk(item, name)
    elif isinstance(value, list):
        for item in value:
            _walk(item, key)
    elif isinstance(value, str):
        _check_text(key, value)


def _check_text(key: str, text: str) -> None:
    if key in ("target", "as_operator"):
        _check_target(text)
    elif key == "expr_str" or key == "guards_code":
        _check_expression(text)
    elif key in ("in_spec", "out_spec"):
        _check_tree(text)
    elif key in ("name", "as_name"):
        if text:
            _match(_NAME, text, "name")
    elif key == "forward_arg_names":
        _match(_ARGUMENT, text, "argument name")
    elif key in ("as_string", "as_strings"):
        return  # a literal argument: torch writes it with repr()
    else:
        _match(_PLAIN, text, key)


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    """Only the module path reaches generated code; the rest is shown to people."""
    stack = metadata.get("nn_module_stack", "")
    if not isinstance(stack, str):
        raise _UnsafeTextError("module path", stack)
    _match(_SCOPE, stack, "module path")


def _match(pattern: re.Pattern[str], text: object, what: str) -> None:
    if not isinstance(text, str) or len(text) > 65_536 or not pattern.fullmatch(text):
        raise _UnsafeTextError(what, text)


def _check_target(text: str) -> None:
    """Only operators of a library, resolved to what torch itself calls an operator."""
    import torch

    parts = text.split(".")
    if text in _PYTHON_TARGETS or (len(parts) == 2 and text.startswith("torch.sym_")):
        return
    if len(parts) == 2 and parts[0] == "_operator" and parts[1] in _OPERATORS:
        return
    if len(parts) == 2 and parts[0] == "math" and re.fullmatch(r"[a-z]\w*", parts[1]):
        return
    if parts[:3] == ["torch", "ops", "higher_order"] and len(parts) == 4:
        if parts[3] in _HIGHER_ORDER:
            return
        raise _UnsafeTextError("operator", text)
    if parts[:2] != ["torch", "ops"] or len(parts) != 5:
        raise _UnsafeTextError("operator", text)
    resolved: Any = torch.ops
    for part in parts[2:]:
        _match(_NAME, part, "operator")
        if not hasattr(resolved, part):
            return  # torch itself reports an operator that is not installed
        resolved = getattr(resolved, part)
    if not isinstance(resolved, torch._ops.OpOverload):
        raise _UnsafeTextError("operator", text)
    if any(argument.name in ("filename", "path_name") for argument in resolved._schema.arguments):
        raise _UnsafeTextError("operator that reads or writes files", text)


def _check_expression(text: str) -> None:
    """Arithmetic and comparisons over symbols and tensor sizes; calls of known functions only."""
    if len(text) > 65_536:
        raise _UnsafeTextError("expression", text)
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError) as exc:
        raise _UnsafeTextError("expression", text) from exc
    for node in ast.walk(tree):
        ok = isinstance(node, _NODES)
        if isinstance(node, ast.Name):
            ok = not node.id.startswith("__")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            ok = bool(_PLAIN.fullmatch(node.value)) and "__" not in node.value
        elif isinstance(node, ast.Attribute):
            ok = node.attr in _TENSOR_METHODS | {"inf", "isnan"}
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            ok = name in _MATH_CALLS or isinstance(node.func, ast.Attribute)
        if not ok:
            raise _UnsafeTextError("expression", text)


def _check_tree(text: str) -> None:
    if not text:
        return
    try:
        spec = json.loads(text)
    except ValueError as exc:
        raise _UnsafeTextError("tree", text) from exc
    _walk_tree(spec)


def _walk_tree(value: Any) -> None:
    if isinstance(value, dict):
        # Its context names a module to import and a function to call.
        if value.get("type") == "collections.defaultdict":
            raise _UnsafeTextError("tree type", "collections.defaultdict")
        for name, item in value.items():
            if name == "context" and isinstance(item, str):
                _walk_tree(_context(item))
            else:
                _match(_PLAIN, name, "tree key")
                # torch imports the module that an enumeration says it lives in.
                if name == "__enum__":
                    raise _UnsafeTextError("tree key", name)
                _walk_tree(item)
    elif isinstance(value, list):
        for item in value:
            _walk_tree(item)
    elif isinstance(value, str):
        _match(_PLAIN, value, "tree text")


def _context(text: str) -> Any:
    """The keys of a dict or the fields of a named tuple: JSON inside JSON, or a bare text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
