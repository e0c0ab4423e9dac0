"""What a pickle names, read from its opcodes alone: standard library only, nothing unpickled."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zipfile import ZipFile

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_LIMIT = 256_000_000
"""More bytes than any honest checkpoint's structure; its weights are members of their own."""

# torch.save writes protocol 2, in which these do not occur. They can name what a scan cannot see.
_HIDDEN = frozenset({"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"})
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class HiddenNameError(ValueError):
    """The pickle refers to code in a way that its opcodes do not spell out."""


def globals_in(pickle: bytes) -> Iterator[str]:
    """Full names of everything that a pickle would import, in order, with repetitions.

    Raises:
        HiddenNameError: an opcode that names things indirectly.
        Exception: of any type, where the bytes are no pickle.
    """
    import pickletools

    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            yield f"{_OLD_NAMES.get(module, module)}.{name}"
        elif opcode.name in _HIDDEN:
            raise HiddenNameError(opcode.name)


def pickle_of(archive: ZipFile) -> bytes | None:
    """The `data.pkl` of a file made by torch.save; None where it is another kind of archive."""
    names = archive.namelist()
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1:
        return None
    root = roots.pop()
    if f"{root}/data.pkl" not in names or f"{root}/constants.pkl" in names:
        return None
    member = archive.getinfo(f"{root}/data.pkl")
    return None if member.file_size > PICKLE_LIMIT else archive.read(member)


def pickle_in(path: Path) -> bytes | None:
    """The `data.pkl` of the archive at `path`; None where there is none. Never raises."""
    import zipfile

    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe or a device would block
            return None
        with zipfile.ZipFile(path) as archive:
            return pickle_of(archive)
    except Exception:  # a hostile file may break zipfile anywhere
        return None
