"""The content-addressed store: what was done once is never done again.

An entry is a folder named by its key. It is filled in a staging folder and renamed into place
whole, under a file lock, so that a reader never sees half of one and two runs never do the same
work twice at the same time.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convkit.errors import PublishError

ENTRY_FILE = "entry.json"
STALE_SECONDS = 24 * 3600


class Store:
    """A store under one root folder."""

    def __init__(self, root: Path) -> None:
        root = root.absolute()  # converters may change the folder they work in
        self.root = root
        self._objects = root / "objects"
        self._locks = root / "locks"
        self._staging = root / "staging"
        try:
            for folder in (self._objects, self._locks, self._staging, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PublishError(
                f"the cache folder {root} cannot be used: {error.strerror}",
                hint="Set CONVKIT_CACHE to a folder that you may write to.",
            ) from error

    @property
    def logs(self) -> Path:
        """Logs of the workers, one per hop."""
        return self.root / "logs"

    def find(self, key: str) -> Path | None:
        """The folder of an entry, or None."""
        folder = self._folder(key)
        return folder if (folder / ENTRY_FILE).is_file() else None

    def read(self, key: str) -> Any:
        """The entry's document, or None where there is no such entry."""
        folder = self.find(key)
        if folder is None:
            return None
        try:
            return json.loads((folder / ENTRY_FILE).read_text("utf-8"))
        except (OSError, ValueError):
            return None  # damaged from outside: as if it were not there

    def produce(self, key: str, make: Callable[[Path], Any]) -> tuple[Path, Any, bool]:
        """Return the entry's folder, its document and whether it was there already.

        Args:
            make: fills the given empty folder and returns the document.
        """
        from filelock import FileLock

        document = self.read(key)
        if document is not None:
            return self._folder(key), document, True
        with FileLock(self._locks / f"{key}.lock"):
            document = self.read(key)
            if document is not None:
                return self._folder(key), document, True
            with self.scratch() as staging:
                document = make(staging)
                (staging / ENTRY_FILE).write_text(json.dumps(document), "utf-8")
                folder = self._folder(key)
                folder.parent.mkdir(parents=True, exist_ok=True)
                if folder.exists():
                    shutil.rmtree(folder)
                os.replace(staging, folder)
            return folder, document, False

    def remember(self, key: str, document: Any) -> None:
        """Store a document that has no files."""
        self.produce(key, lambda _: document)

    def forget(self, key: str) -> None:
        """Remove an entry, as one that proved damaged."""
        shutil.rmtree(self._folder(key), ignore_errors=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder on the store's own disk, gone afterwards."""
        folder = self._staging / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise no_space(self.root) from error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove staging folders that killed runs left behind."""
        import psutil

        for folder in self._staging.iterdir():
            pid = folder.name.partition("-")[0]
            gone = not pid.isdigit() or not psutil.pid_exists(int(pid))
            try:
                stale = gone or time.time() - folder.stat().st_mtime > STALE_SECONDS
            except FileNotFoundError:  # its run has just finished
                continue
            if stale:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, key: str) -> Path:
        return self._objects / key[:2] / key


def no_space(place: Path) -> PublishError:
    """The error for a full disk."""
    return PublishError(
        f"no space is left on the disk that holds {place}",
        hint="Free some space, or point CONVKIT_CACHE (or -o) at another disk.",
    )


def default_root() -> Path:
    """`CONVKIT_CACHE`, or the platform's folder for caches."""
    given = os.environ.get("CONVKIT_CACHE")
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("convkit", appauthor=False)
