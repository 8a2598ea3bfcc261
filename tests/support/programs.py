"""Stand-ins for pg_dump and pg_restore: the real ones, of another age or held up half way."""

from dataclasses import dataclass
from pathlib import Path

from config import embedded


@dataclass(frozen=True)
class HeldUp:
    """A directory of programs, one of which writes a part, then waits until it may continue."""

    directory: Path

    @property
    def waits(self) -> bool:
        return (self.directory / "waits").exists()

    def let_go(self) -> None:
        (self.directory / "go").touch()


def held_up(directory: Path, *, name: str, when: str) -> HeldUp:
    """The real programs, but ``name`` is held up where ``when`` is among its arguments."""
    for program in ("pg_dump", "pg_restore"):
        real = embedded.program(program)
        lines = ["#!/bin/sh"]
        if program == name:
            lines += [
                f'case "$*" in *{when}*) ;; *) exec {real} "$@" ;; esac',
                f'if [ -e {directory}/go ]; then exec {real} "$@"; fi',
                f'{real} "$@" > {directory}/whole || exit',
                f"head -c 2000 {directory}/whole",
                f"touch {directory}/waits",
                f"until [ -e {directory}/go ]; do sleep 0.05; done",
                f"tail -c +2001 {directory}/whole",
            ]
        else:
            lines.append(f'exec {real} "$@"')
        write(directory / program, lines)
    return HeldUp(directory)


def of_version(directory: Path, version: str) -> Path:
    """Programs that say they are of a version, and can do nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    for program in ("pg_dump", "pg_restore"):
        write(directory / program, ["#!/bin/sh", f"echo '{program} (PostgreSQL) {version}'"])
    return directory


def write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
