"""Which kind of torch file this is, from its bytes alone: standard library only, nothing loaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.errors import InputError

if TYPE_CHECKING:
    from zipfile import ZipInfo

PT2 = "pt2"
PT2_OLD = "pt2-old"
TORCHSCRIPT = "torchscript"
PICKLE_ZIP = "pickle-zip"
PICKLE_RAW = "pickle-raw"
PICKLE_TAR = "pickle-tar"

SUFFIXES = (".pt2", ".pt", ".pth", ".ts")

_ZIP_MAGIC = b"PK\x03\x04"
# torch.save before 1.6: a pickle of the number 0x1950a86a20f9469cfc6c.
_RAW_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAX_MEMBERS = 200_000
_DAMAGED = "The file is truncated or damaged; copy it again, or export the model again."


def kind_of(path: Path, head: bytes) -> str | None:
    """Name the layout of a torch file, or None where it has none of the known ones.

    Never raises, whatever the bytes are.

    Args:
        head: the first 4096 bytes of the file.
    """
    if head.startswith(_ZIP_MAGIC):
        try:
            return _kind_of_members(_member_names(path))
        except Exception:  # a hostile file may break zipfile anywhere; then it is not a torch file
            return None
    if head.startswith(_RAW_MAGIC):
        return PICKLE_RAW
    # torch.save before 0.1.10: a tar whose members are sys_info, pickle, tensors and storages.
    if head[257:262] == b"ustar" and head[:100].rstrip(b"\0") in (b"sys_info", b"pickle"):
        return PICKLE_TAR
    return None


def _member_names(path: Path) -> tuple[str, ...]:
    import zipfile

    # Opening a pipe or a device would block.
    if not stat.S_ISREG(os.stat(path).st_mode):
        return ()
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()[:_MAX_MEMBERS]
        return tuple(m.filename for m in members) if _starts_at_zero(members) else ()


def _starts_at_zero(members: Sequence[ZipInfo]) -> bool:
    """Archives nest: the end of a truncated one may be a whole archive that was inside it."""
    return min((m.header_offset for m in members), default=-1) == 0


def _kind_of_members(names: Iterable[str]) -> str | None:
    known = set(names)
    if "serialized_exported_program.json" in known:
        return PT2_OLD
    roots = {name.partition("/")[0] for name in known}
    for root in sorted(roots):
        inner = {name.partition("/")[2] for name in known if name.startswith(root + "/")}
        if "archive_format" in inner and "archive_version" in inner:
            return PT2
        if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
            return TORCHSCRIPT
        if "data.pkl" in inner and ("version" in inner or ".format_version" in inner):
            return PICKLE_ZIP
    return None


def verify_zip(path: Path) -> None:
    """Check the checksum of every member, and that no two members could be confused.

    torch reads archives with its own parser, which ignores case and takes the first of two equal
    names; the checks of this plugin must see the very bytes that torch will see.

    Raises:
        InputError: truncated, damaged or ambiguous.
    """
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.lower() for name in archive.namelist()]
            if len(set(names)) != len(names):
                raise InputError(f"{path.name} holds two members of the same name", hint=_DAMAGED)
            if not _starts_at_zero(archive.infolist()):
                raise InputError(f"{path.name} is only a part of an archive", hint=_DAMAGED)
            broken = archive.testzip()
    except InputError:
        raise
    except Exception as exc:  # zipfile raises a dozen types on damaged archives
        raise InputError(
            f"{path.name} is not a complete zip archive ({exc})",
            hint=_DAMAGED,
        ) from exc
    if broken is not None:
        raise InputError(
            f"{path.name} is damaged: the checksum of its member {broken!r} does not match",
            hint=_DAMAGED,
        )
