"""A dump is there whole, or it is not there."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.engine.snapshot.failures import SnapshotError
from rollout.worker import dump_storage

CHUNKS = [b"first " * 500, b"second " * 500, b"third"]
WHOLE = b"".join(CHUNKS)


@pytest.fixture
def kept_in(tmp_path: Path, settings: Any) -> Any:
    """Has dumps kept in a storage of some class, in a directory of the test's own."""

    def keep(name: str = "django.core.files.storage.FileSystemStorage") -> Path:
        options = {} if name.endswith("ReadingStorage") else {"location": tmp_path}
        settings.STORAGES = {
            **settings.STORAGES,
            "snapshots": {"BACKEND": name, "OPTIONS": options},
        }
        return tmp_path

    return keep


def nothing(_size: int) -> None:
    pass


def files(directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [1, 5000])
def test_written_bytes_are_counted_and_hashed_on_their_way(kept_in: Any, size: int) -> None:
    directory = kept_in()
    pieces = (WHOLE[start : start + size] for start in range(0, len(WHOLE), size))
    stored = dump_storage.store("a/b.dump", pieces, tell=nothing)
    assert files(directory) == ["a/b.dump"]
    assert (directory / "a/b.dump").read_bytes() == WHOLE
    assert stored == dump_storage.Stored("a/b.dump", len(WHOLE), hashlib.sha256(WHOLE).hexdigest())
    assert dump_storage.measured("a/b.dump", check=lambda: None) == stored


def test_a_storage_that_reads_by_the_piece_gets_all_of_it(kept_in: Any) -> None:
    kept_in("tests.support.storages.ReadingStorage")
    stored = dump_storage.store("b.dump", iter(CHUNKS), tell=nothing)
    assert dump_storage.measured("b.dump", check=lambda: None) == stored
    assert stored.size == len(WHOLE)


def test_a_dump_that_breaks_off_leaves_nothing(kept_in: Any) -> None:
    directory = kept_in()

    def breaking() -> Iterator[bytes]:
        yield CHUNKS[0]
        assert files(directory) == ["a.dump.part"]
        raise RuntimeError("the worker was told to stop")

    with pytest.raises(RuntimeError, match="told to stop"):
        dump_storage.store("a.dump", breaking(), tell=nothing)
    assert files(directory) == []


def test_a_full_disk_is_called_so_and_leaves_nothing(kept_in: Any) -> None:
    directory = kept_in("tests.support.storages.FullStorage")
    with pytest.raises(SnapshotError, match="Snapshot storage is full") as error:
        dump_storage.store("a.dump", iter(CHUNKS), tell=nothing)
    assert "Free space there" in error.value.advice
    assert files(directory) == []


def test_a_file_that_is_shorter_than_what_was_written_is_no_dump(kept_in: Any) -> None:
    directory = kept_in("tests.support.storages.ForgetfulStorage")
    with pytest.raises(SnapshotError, match=f"wrote 6,504 of {len(WHOLE):,} bytes"):
        dump_storage.store("a.dump", iter(CHUNKS), tell=nothing)
    assert files(directory) == []


def test_removing_takes_a_part_too_and_twice_is_once(kept_in: Any) -> None:
    directory = kept_in()
    (directory / "a.dump.part").write_bytes(b"half")
    dump_storage.remove("a.dump")
    dump_storage.remove("a.dump")
    dump_storage.remove("")
    assert files(directory) == []


def test_a_dump_that_is_gone_says_what_to_do(kept_in: Any) -> None:
    kept_in()
    with pytest.raises(SnapshotError, match="not found in the storage") as error:
        dump_storage.measured("a.dump", check=lambda: None)
    assert error.value.advice == "Take a new snapshot."


def test_names_of_two_tries_differ_and_hold_no_path_of_their_own() -> None:
    names = {dump_storage.name_of("../plan", "a/b", 7, 1) for _ in range(20)}
    assert len(names) == 20
    assert all(name.count("/") == 3 and ".." not in name.split("/") for name in names)


def test_a_dump_is_for_its_owner_alone() -> None:
    stored = dump_storage.store(
        dump_storage.name_of("plan", "test", 1, 1), iter(CHUNKS), tell=nothing
    )
    path = Path(dump_storage.storage().path(stored.name))
    assert path.stat().st_mode & 0o077 == 0
    dump_storage.remove(stored.name)


def test_progress_of_a_dump_is_reported(kept_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_in()
    monkeypatch.setattr(dump_storage, "_TELL_EVERY", 0)
    sizes: list[int] = []
    dump_storage.store("a.dump", iter(CHUNKS), tell=sizes.append)
    assert sizes[: len(CHUNKS)] == [3000, 6500, 6505]


def test_a_local_dump_is_for_its_owner_alone(kept_in: Any) -> None:
    directory = kept_in()
    (directory / "snapshots").mkdir(mode=0o755)
    name = dump_storage.name_of("orders", "production", 1, 1)
    dump_storage.store(name, iter(CHUNKS), tell=nothing)
    dump = directory / name
    assert dump.stat().st_mode & 0o777 == 0o600
    for parent in list(dump.relative_to(directory).parents)[:-1]:
        assert (directory / parent).stat().st_mode & 0o777 == 0o700
