"""Storages that behave as the worst of them do."""

import errno
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage, InMemoryStorage

from rollout.worker import dump_storage


def stored() -> list[Path]:
    """The files of the storage for snapshots, whole or not."""
    return [path for path in Path(dump_storage.storage().path("")).rglob("*") if path.is_file()]


class FullStorage(FileSystemStorage):
    """A disk with room for the first piece of a file alone."""

    def _save(self, name: str, content: Any) -> str:
        first = next(iter(content.chunks()))
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(first[:100])
        raise OSError(errno.ENOSPC, "No space left on device")


class ForgetfulStorage(FileSystemStorage):
    """A disk that says it has written all of a file, and has not."""

    def _save(self, name: str, content: Any) -> str:
        whole = b"".join(content.chunks())
        Path(self.path(name)).write_bytes(whole[:-1])
        return name


class ReadingStorage(InMemoryStorage):
    """Not on a disk, and it reads what it stores by the piece, as clients of object stores do."""

    def _save(self, name: str, content: Any) -> str:
        content.seek(0)
        pieces = []
        while piece := content.read(1000):
            assert len(piece) <= 1000
            pieces.append(piece)
        with self.open(name, "wb") as file:
            file.write(b"".join(pieces))
        return name
