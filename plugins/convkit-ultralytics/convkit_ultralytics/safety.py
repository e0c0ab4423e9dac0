"""Unpickle a checkpoint without running code that the file brings.

A checkpoint holds a whole module, so plain weights-only loading refuses it. An allow-list of
classes alone would not do either: a pickle may also *call* what it names, and a model class that is
called with a hostile description evaluates text in it. So three kinds of names are told apart:

- classes of layers are replaced by shells that can be filled but not called, and are turned into
  the real classes once the file is read;
- things of training (losses, arguments, metrics, transforms) become an inert placeholder, since
  nothing of them is needed;
- all other names are refused, unless they are data of torch.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from convkit.errors import ConvkitError, InputError, UnsafeError
from convkit_ultralytics import framework, pickles

TRUST_HINT = "If you know where the file comes from, --trust allows it to run its code."
_DAMAGED = "The file is truncated or damaged; copy it again."

# What torch itself rebuilds tensors from; it checks the arguments.
_TORCH_DATA = frozenset(
    {
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
        "collections.Counter",
        "collections.OrderedDict",
        "torch.Size",
        "torch.Tensor",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_tensor_v2",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.storage.UntypedStorage",
        *(f"torch.{kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Char", "Double")),
        *(f"torch.{kind}Storage" for kind in ("Float", "Half", "Int", "Long", "Short")),
        *(f"torch.{kind}" for kind in ("bfloat16", "bool", "float16", "float32", "float64")),
        *(f"torch.{kind}" for kind in ("int16", "int32", "int64", "int8", "uint8")),
    }
)
_LAYER_MODULES = ("ultralytics.nn.modules", "ultralytics.nn.tasks", "torch.nn.modules")
_INERT_MODULES = (
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "torchvision.transforms.functional",
    "torchvision.transforms.transforms",
    "ultralytics.utils.loss",
    "ultralytics.utils.tal",
    "ultralytics.yolo.utils.loss",
    "ultralytics.yolo.utils.tal",
    "ultralytics.yolo.v8",
)
_INERT = frozenset(
    {
        "numpy.dtype",
        "numpy.ndarray",
        "ultralytics.utils.IterableSimpleNamespace",
        "ultralytics.yolo.utils.IterableSimpleNamespace",
        *(
            f"{module}.{kind}Path"
            for module in ("pathlib", "pathlib._local")
            for kind in ("Posix", "PurePosix", "PureWindows", "Windows")
        ),
    }
)
# Names that ultralytics has given up; see its release notes for YOLOv9 and YOLOv10.
_RENAMED = {
    "ultralytics.nn.modules.block.Silence": "torch.nn.modules.linear.Identity",
    "ultralytics.nn.tasks.YOLOv10DetectionModel": "ultralytics.nn.tasks.DetectionModel",
}
_GETATTR = "builtins.getattr"


class Inert:
    """Stands for an object that is not needed; takes anything and keeps nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Ignore what it is made of."""

    def __setstate__(self, state: object) -> None:
        """Ignore what it is filled with."""


def load(path: Path, trust: bool) -> Any:
    """The content of a checkpoint, on the CPU.

    Raises:
        InputError: damaged, or not made by torch.save.
        UnsafeError: it names something that is not on the list, or calls a class, and `trust` is
            False.
    """
    import torch

    content = _checked_pickle(path)
    framework.tasks()  # `torch.load` may need it, and under its own rules
    try:
        if trust:
            return torch.load(str(path), map_location="cpu", weights_only=False)
        names = _names(content, path)
        allowed = {name: _stand_in(name, path) for name in names if name not in _TORCH_DATA}
        with torch.serialization.safe_globals([(thing, name) for name, thing in allowed.items()]):
            loaded = torch.load(str(path), map_location="cpu", weights_only=True)
        _unwrap(loaded)
        return loaded
    except ConvkitError:
        raise
    except pickle.UnpicklingError as exc:
        if trust:
            raise InputError(f"{path.name} is damaged: {framework.first_line(exc)}") from exc
        # Its text advises to load again without protection; it stays the cause only.
        raise UnsafeError(
            f"{path.name} holds a pickle that torch does not read as data", hint=TRUST_HINT
        ) from exc
    except (ImportError, AttributeError) as exc:
        raise InputError(
            f"{path.name} refers to code that is not here: {framework.first_line(exc)}",
            hint="It may come from another version of ultralytics, or from a fork.",
        ) from exc
    except Exception as exc:  # damaged archives fail with any type
        raise InputError(
            f"{path.name} cannot be read: {framework.first_line(exc)}", hint=_DAMAGED
        ) from exc


def _checked_pickle(path: Path) -> bytes:
    """The pickle of an archive whose checksums hold and whose names are unambiguous.

    torch reads archives with its own parser, which ignores case and takes the first of two equal
    names; what is checked here must be what torch will read.
    """
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.lower() for name in archive.namelist()]
            if len(set(names)) != len(names):
                raise InputError(f"{path.name} holds two members of the same name", hint=_DAMAGED)
            broken = archive.testzip()
            if broken is not None:
                raise InputError(f"{path.name}: the checksum of {broken!r} is wrong", hint=_DAMAGED)
            content = pickles.pickle_of(archive)
    except InputError:
        raise
    except Exception as exc:  # zipfile raises a dozen types on damaged archives
        raise InputError(
            f"{path.name} is not a complete checkpoint ({framework.first_line(exc)})", hint=_DAMAGED
        ) from exc
    if content is None:
        raise InputError(
            f"{path.name} is no checkpoint of ultralytics",
            hint="A checkpoint is what training leaves behind, such as `best.pt`.",
        )
    return content


def _names(content: bytes, path: Path) -> set[str]:
    try:
        return set(pickles.globals_in(content))
    except pickles.HiddenNameError as exc:
        raise UnsafeError(
            f"{path.name} names code in a way that hides it (opcode {exc})", hint=TRUST_HINT
        ) from exc
    except Exception as exc:
        raise InputError(f"{path.name} holds a damaged pickle", hint=_DAMAGED) from exc


def _stand_in(name: str, path: Path) -> Any:
    """What a name of the allow-list is read as.

    Raises:
        UnsafeError: the name is not on the list.
    """
    if name == _GETATTR:
        return _attribute
    if name in _INERT or _within(name, _INERT_MODULES):
        return Inert
    real = _RENAMED.get(name, name)
    if _within(real, _LAYER_MODULES):
        layer = _layer(real)
        if layer is not None:
            return _shell(layer)
    raise UnsafeError(
        f"{path.name} refers to {name}, which is not among the classes that are safe to read",
        hint=TRUST_HINT,
    )


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return name.startswith(tuple(f"{module}." for module in modules))


def _layer(name: str) -> Any:
    """A layer class by its full name, None where there is none of that name.

    Modules are looked up only among those that `ultralytics.nn.tasks` has imported: a pickle does
    not decide what is imported.
    """
    import torch

    home, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(home), attribute, None)
    return found if isinstance(found, type) and issubclass(found, torch.nn.Module) else None


def _shell(layer: Any) -> Any:
    """A class that can be made empty and filled with its attributes, but not called."""

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise UnsafeError(
            f"the file calls {layer.__module__}.{layer.__qualname__} instead of storing one",
            hint=TRUST_HINT,
        )

    return type(layer.__name__, (layer,), {"__init__": refuse, "_convkit_shell": layer})


def _attribute(owner: object, name: object) -> Any:
    """`getattr` as older checkpoints need it: for a layer's own `forward`, else for nothing."""
    import torch

    if owner is Inert:
        return Inert()
    if name in ("forward", "forward_fuse"):
        if isinstance(owner, type) and issubclass(owner, torch.nn.Module):
            return getattr(owner, str(name))
        if isinstance(owner, torch.nn.Module):
            return getattr(type(owner), str(name)).__get__(owner)
    raise UnsafeError(f"the file looks up the attribute {name!r} by itself", hint=TRUST_HINT)


def _unwrap(content: object) -> None:
    """Turn shells into the classes that they stand for, in place."""
    import torch

    for root in _modules_in(content):
        for module in root.modules():
            real = getattr(type(module), "_convkit_shell", None)
            if real is not None and isinstance(module, torch.nn.Module):
                module.__class__ = real


def _modules_in(content: object) -> Iterator[Any]:
    import torch

    values = [content, *(content.values() if isinstance(content, Mapping) else ())]
    yield from (value for value in values if isinstance(value, torch.nn.Module))
