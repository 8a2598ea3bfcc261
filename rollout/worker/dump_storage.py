"""Where dumps are kept: a storage of the project, in which names tell whole dumps from parts.

A dump that is being written has a name that ends in ``.part``. A local file is renamed once all of
it is on disk; other storages let a file appear only once all of it has arrived.
"""

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.utils.text import get_valid_filename

from rollout.conf import setting
from rollout.engine.snapshot import failures
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.pipes import CHUNK_BYTES, Readable

PART = ".part"
_TELL_EVERY = 0.5


@dataclass(frozen=True)
class Stored:
    """A dump in the storage."""

    name: str
    size: int
    sha256: str


def storage() -> Storage:
    """The storage that ``ROLLOUT["SNAPSHOTS"]["STORAGE"]`` names, an alias of STORAGES."""
    return storages[setting("SNAPSHOTS", {"STORAGE": "default"}).get("STORAGE", "default")]


def name_of(plan: str, environment: str, snapshot: int, token: int) -> str:
    """A name of its own for each try, so that no two workers ever write to one file."""
    random = os.urandom(4).hex()
    places = (get_valid_filename(part) for part in (plan, environment))
    return "/".join(["snapshots", *places, f"{snapshot}-{token}-{random}.dump"])


def store(name: str, chunks: Iterator[bytes], *, tell: Callable[[int], None]) -> Stored:
    """Write a dump as it comes and report its bytes so far; a failed one is removed.

    Raises SnapshotError, and whatever the chunks raise.
    """
    kept = storage()
    stream = _Stream(chunks, tell)
    part = f"{name}{PART}" if _is_local(kept) else name
    try:
        if _is_local(kept):
            _make_private(kept, part)
        written = kept.save(part, stream)
        size = kept.size(written)
        if size != stream.written:
            raise SnapshotError(
                f"The storage wrote {size:,} of {stream.written:,} bytes.", failures.FREE_SPACE
            )
        if _is_local(kept):
            _settle(kept.path(written), kept.path(name))
            written = name
    except BaseException as error:
        for left in {part, name}:
            with contextlib.suppress(OSError):
                kept.delete(left)
        if isinstance(error, OSError):
            raise failures.of_storage(error) from error
        raise
    return Stored(written, stream.written, stream.sha256)


def remove(name: str) -> None:
    """Remove a dump, whole or in part. Raises OSError."""
    if name:
        storage().delete(name)
        storage().delete(f"{name}{PART}")


def open_dump(name: str) -> Readable:
    """Open a dump for reading. Raises OSError."""
    return storage().open(name, "rb")


def exists(name: str) -> bool:
    """Whether a dump is there."""
    return bool(name) and storage().exists(name)


def measured(name: str, *, check: Callable[[], None]) -> Stored:
    """Read a dump to get its size and hash. Raises SnapshotError."""
    content, size = hashlib.sha256(), 0
    try:
        dump = open_dump(name)
        try:
            while chunk := dump.read(CHUNK_BYTES):
                check()
                content.update(chunk)
                size += len(chunk)
        finally:
            dump.close()
    except FileNotFoundError as error:
        raise SnapshotError(
            f"Dump {name} not found in the storage.", "Take a new snapshot."
        ) from error
    except OSError as error:
        raise failures.of_storage(error) from error
    return Stored(name, size, content.hexdigest())


class _Stream(File):  # type: ignore[type-arg]  # known to the checker alone
    """What a storage reads: the chunks as they come, hashed and counted on their way."""

    def __init__(self, chunks: Iterator[bytes], tell: Callable[[int], None]) -> None:
        super().__init__(None)
        self._chunks = chunks
        self._tell = tell
        self._reported_at = time.monotonic()
        self._rest = b""
        self._hash = hashlib.sha256()
        self.written = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        while chunk := self._next():
            yield chunk

    def read(self, size: int = -1) -> bytes:
        """For storages that read a number of bytes."""
        parts, wanted = [self._rest], size - len(self._rest)
        while size < 0 or wanted > 0:
            chunk = self._next()
            if not chunk:
                break
            parts.append(chunk)
            wanted -= len(chunk)
        whole = b"".join(parts)
        cut = len(whole) if size < 0 else size
        self._rest = whole[cut:]
        return whole[:cut]

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Some storages seek to the beginning before they read; nothing else is possible."""
        if offset or whence != os.SEEK_SET or self.written:
            raise io.UnsupportedOperation("a dump is read once, from its beginning")
        return 0

    def _next(self) -> bytes:
        chunk = next(self._chunks, b"")
        self._hash.update(chunk)
        self.written += len(chunk)
        if time.monotonic() - self._reported_at > _TELL_EVERY:
            self._reported_at = time.monotonic()
            self._tell(self.written)
        return chunk


def _is_local(kept: Storage) -> bool:
    return isinstance(kept, FileSystemStorage)


def _make_private(kept: Storage, name: str) -> None:
    """Make the directories of a dump, for their owner alone. Raises OSError."""
    root = Path(kept.path(""))
    root.mkdir(parents=True, exist_ok=True)
    for parent in reversed(Path(name).parents):
        directory = root / parent
        if directory == root:
            continue
        directory.mkdir(mode=0o700, exist_ok=True)
        # One that is there already may be somebody else's.
        with contextlib.suppress(PermissionError):
            directory.chmod(0o700)


def _settle(part: str, path: str) -> None:
    """Give a dump its name once all of it is on disk, so that a crash leaves it whole or a part."""
    os.chmod(part, 0o600)
    with open(part, "rb") as written:
        os.fsync(written.fileno())
    os.rename(part, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
