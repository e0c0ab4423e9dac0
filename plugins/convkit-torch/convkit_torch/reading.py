"""From a torch file to an exported program or a TorchScript module, safely."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError, ConvkitError, InputError, UnsafeError, UsageError
from convkit.plugin import ReadOptions, TensorSpec
from convkit_torch import container, program_safety

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_HEAD = 4096
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_EXAMPLE_SEED = 0


@dataclass(frozen=True)
class EagerModel:
    """A live module, in eval mode, with arguments that it can be called with.

    Attributes:
        container: `state-dict`, or `module` where the file holds the pickled module itself.
    """

    module: torch.nn.Module
    examples: tuple[Any, ...]
    container: str


def container_of(path: Path) -> str:
    """The layout of the file (a constant of `convkit_torch.container`), its checksums verified.

    Raises:
        InputError: not a torch file, truncated or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file", hint="A torch model is a single file.")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PK"):
        container.verify_zip(path)
    kind = container.kind_of(path, head)
    if kind is None:
        raise InputError(
            f"{path.name} is not a torch model" + (" (it is empty)" if not head else ""),
            hint="Known are torch.export archives, TorchScript, and files made by torch.save.",
        )
    return kind


def load_program(path: Path, read: ReadOptions) -> ExportedProgram:
    """Read a torch.export archive.

    Raises:
        InputError: damaged, or another kind of torch file.
        UnsafeError: loading it would run code and `read.trust` is False.
    """
    import torch

    kind = container_of(path)
    if kind not in (container.PT2, container.PT2_OLD):
        raise InputError(f"{path.name} is not a torch.export archive")
    try:
        if not read.trust:
            if kind == container.PT2:
                program_safety.check_archive(path)
            else:
                program_safety.check_old_archive(path)
        return torch.export.load(str(path))
    except ConvkitError:
        raise
    except Exception as exc:  # torch raises any type on malformed archives
        raise InputError(
            f"{path.name} cannot be read as a torch.export archive: {first_line(exc)}",
            hint="It may be damaged, made by a newer torch, or use operators of a library that is "
            "not installed here.",
        ) from exc


def export(
    module: torch.nn.Module,
    examples: Sequence[Any],
    dynamic: Mapping[str, tuple[int, ...]] | None = None,
) -> ExportedProgram:
    """`torch.export.export` in eval mode without gradients.

    Args:
        dynamic: parameter of `forward` to the axes that stay open.

    Raises:
        UsageError: `dynamic` names what is no tensor parameter, or an axis that it lacks.
        ConversionError: the module cannot be exported, or not with those axes open.
    """
    import torch

    from convkit_torch import dynamic_axes

    args, shapes = dynamic_axes.opened(module, tuple(examples), dynamic or {})
    try:
        with torch.no_grad():
            return torch.export.export(module.eval(), args, dynamic_shapes=shapes, strict=False)
    except Exception as exc:
        if shapes is not None and "Dim.DYNAMIC" in str(exc):
            raise ConversionError(
                f"{type(module).__name__} does not take every size on the axes of --dynamic",
                hint=f"torch.export says: {dynamic_axes.conflict(exc)}",
            ) from exc
        raise ConversionError(
            f"torch.export cannot capture {type(module).__name__}: {first_line(exc)}",
            hint="Run torch.export.export on it yourself to see the whole message; control flow "
            "that depends on tensor values is the usual reason.",
        ) from exc


def first_line(exc: BaseException) -> str:
    """The first non-empty line of an exception's text, shortened."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__)[:300]


def load_eager(path: Path, read: ReadOptions) -> EagerModel:
    """The live module of a state dict (through `read.factory`) or of a pickled module.

    Raises:
        UnsafeError: the file holds more than tensors and `read.trust` is False.
        UsageError: the factory or the shapes are missing.
        InputError: damaged, or the weights do not fit the module.
    """
    content = _unpickle(path, read.trust)
    module = _find_module(content)
    held = "state-dict" if module is None else "module"
    if module is None:
        weights = _find_weights(content)
        if weights is None:
            raise InputError(f"{path.name} holds neither weights nor a module")
        module, examples = _build(read, path)
        _load_weights(module, weights, path)
    else:
        examples = None
    if _is_half(module):
        module = module.float()
    if examples is None:
        examples = _examples_from_shapes(module, read)
    return EagerModel(module.eval().requires_grad_(False), tuple(examples), held)


def _is_half(module: torch.nn.Module) -> bool:
    """Checkpoints are often stored in half precision, which CPUs barely compute in."""
    import torch

    floats = [p for p in module.parameters() if p.is_floating_point()]
    return bool(floats) and all(p.dtype == torch.float16 for p in floats)


def _unpickle(path: Path, trust: bool) -> Any:
    import pickle

    import torch

    try:
        return torch.load(str(path), map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as exc:
        if trust:
            raise InputError(f"{path.name} is damaged: {first_line(exc)}") from exc
        raise UnsafeError(
            f"{path.name} holds pickled Python objects, not only weights",
            hint="Save its state_dict() instead. " + program_safety.TRUST_HINT,
        ) from exc
    except (ImportError, AttributeError) as exc:
        raise InputError(
            f"{path.name} refers to Python code that is not here: {first_line(exc)}",
            hint="Install the package that defines the module, or put it on PYTHONPATH.",
        ) from exc
    except Exception as exc:  # damaged legacy files fail with any type
        raise InputError(
            f"{path.name} is damaged: {first_line(exc)}", hint="Copy the file again."
        ) from exc


def _find_module(content: Any) -> Any:
    import torch

    if isinstance(content, torch.nn.Module):
        return content
    if isinstance(content, Mapping) and isinstance(content.get("model"), torch.nn.Module):
        return content["model"]
    return None


def _find_weights(content: Any) -> dict[str, Any] | None:
    import torch

    if not isinstance(content, Mapping):
        return None
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            return _find_weights(content[key])
    named = all(isinstance(name, str) for name in content)
    if named and any(isinstance(value, torch.Tensor) for value in content.values()):
        return dict(content)
    return None


def _build(read: ReadOptions, path: Path) -> tuple[Any, tuple[Any, ...] | None]:
    import torch

    if not read.factory:
        raise UsageError(
            f"{path.name} holds only weights; the module that they belong to must be built",
            hint="Give --factory package.module:function; the function takes no arguments and "
            "returns the nn.Module, or (nn.Module, example_inputs).",
        )
    module_name, _, function = read.factory.partition(":")
    if not module_name or not function:
        raise UsageError(
            f"{read.factory!r} is not a factory", hint="Write --factory package.module:function."
        )
    try:
        with _importable_from_cwd():
            source = importlib.import_module(module_name)
            factory: Any = functools.reduce(getattr, function.split("."), source)
            built = factory()
    except Exception as exc:  # the user's own code
        raise UsageError(
            f"the factory {read.factory} failed: {type(exc).__name__}: {first_line(exc)}",
            hint="It is imported from the current folder and the installed packages.",
        ) from exc
    module, examples = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"the factory {read.factory} returned no nn.Module")
    if isinstance(examples, torch.Tensor):
        examples = (examples,)
    return module, None if read.shapes or examples is None else tuple(examples)


_PATH_LOCK = threading.Lock()


@contextlib.contextmanager
def _importable_from_cwd() -> Iterator[None]:
    here = str(Path.cwd())
    with _PATH_LOCK:
        sys.path.insert(0, here)
        try:
            yield
        finally:
            sys.path.remove(here)


def _load_weights(module: torch.nn.Module, weights: dict[str, Any], path: Path) -> None:
    # DistributedDataParallel and torch.compile prefix every name.
    for prefix in ("module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    try:
        module.load_state_dict(weights, strict=True)
    except (RuntimeError, TypeError, AttributeError) as exc:
        raise InputError(
            f"the weights of {path.name} do not fit the factory's module: "
            + " ".join(str(exc).split())[:300],
            hint="The factory must build the very architecture that the weights were saved from.",
        ) from exc


def _examples_from_shapes(module: torch.nn.Module, read: ReadOptions) -> tuple[Any, ...]:
    import inspect

    names = [
        p.name
        for p in inspect.signature(module.forward).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return example_tensors(_ordered_shapes(names, read), read)


def _ordered_shapes(names: Sequence[str], read: ReadOptions) -> tuple[str, ...]:
    """The names of `read.shapes` in the order of the parameters `names`.

    Raises:
        UsageError: no shapes, or a shape for a parameter that does not exist.
    """
    known = ", ".join(names) or "none"
    if not read.shapes:
        flags = " ".join(f"--shape {name}=1x3x224x224" for name in names[:1] or ("x",))
        raise UsageError(
            "the file does not say which shapes the model takes",
            hint=f"Give one for each input, such as {flags} (inputs: {known}).",
        )
    unknown = [name for name in read.shapes if name not in names]
    if unknown:
        raise UsageError(f"the model has no input {unknown[0]!r}", hint=f"Its inputs: {known}.")
    ordered = tuple(name for name in names if name in read.shapes)
    if ordered != tuple(names[: len(ordered)]):
        missing = next(name for name in names if name not in read.shapes)
        raise UsageError(
            f"the shape of input {missing!r} is missing", hint=f"Give --shape {missing}=..."
        )
    return ordered


def example_tensors(names: Sequence[str], read: ReadOptions) -> tuple[torch.Tensor, ...]:
    """Seeded normal numbers for floats, zeros (valid as an index) for integers and booleans."""
    import torch

    generator = torch.Generator().manual_seed(_EXAMPLE_SEED)
    tensors = []
    for name in names:
        dtype = getattr(torch, read.dtypes.get(name, "float32"), None)
        if not isinstance(dtype, torch.dtype):
            raise UsageError(f"{read.dtypes[name]!r} is not a dtype of torch")
        shape = tuple(read.shapes[name])
        if dtype.is_floating_point:
            tensors.append(torch.randn(shape, generator=generator).to(dtype))
        else:
            tensors.append(torch.zeros(shape, dtype=dtype))
    return tuple(tensors)


def load_script(path: Path, read: ReadOptions) -> Any:
    """A TorchScript module in eval mode.

    Raises:
        UnsafeError: its code reads or writes files and `read.trust` is False.
        InputError: damaged.
    """
    import torch

    if not read.trust:
        _check_script(path)
    load: Any = torch.jit.load
    try:
        module = load(str(path), map_location="cpu")
    except Exception as exc:
        raise InputError(
            f"{path.name} cannot be read as TorchScript: {first_line(exc)}",
            hint="It may be damaged, or use operators of a library that is not installed here.",
        ) from exc
    return module.eval()


def _check_script(path: Path) -> None:
    """Refuse TorchScript whose code names an operator that touches files; it may run at loading.

    Raises:
        UnsafeError: naming the operator.
    """
    import re
    import zipfile

    operator = re.compile(rb"\b(?:torch|aten)\.(save|from_file)\s*\(|ops\.debugprims\b")
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".py") and operator.search(archive.read(name)):
                raise UnsafeError(
                    f"{path.name} holds TorchScript code that reads or writes files ({name})",
                    hint=program_safety.TRUST_HINT,
                )


def script_inputs(module: Any, read: ReadOptions) -> tuple[TensorSpec, ...]:
    """Specs of a TorchScript module's inputs, from its schema and `read`; an open axis bears the
    input's name and its number.

    Raises:
        UsageError: `read.shapes` does not give them, or `read.dynamic` names what is not there.
    """
    from convkit_torch import dynamic_axes

    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    specs = []
    for name in _ordered_shapes(names, read):
        shape: list[int | str | None] = [*read.shapes[name]]
        for axis in dynamic_axes.checked(name, read.dynamic.get(name, ()), len(shape)):
            shape[axis] = f"{name}_{axis}"
        layout = "NCHW" if len(shape) == 4 else ""
        specs.append(TensorSpec(name, tuple(shape), read.dtypes.get(name, "float32"), layout))
    return tuple(specs)


def script_outputs(count: int) -> list[str]:
    """Names of a TorchScript module's outputs, which its schema does not name."""
    return [f"output_{i}" for i in range(count)]


def flat_tensors(value: Any) -> tuple[torch.Tensor, ...]:
    """All tensors of a nested result, in order."""
    import torch
    from torch.utils import _pytree as pytree

    return tuple(leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor))
