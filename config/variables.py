"""The demo's variables: what may be said in front of `make demo`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.home import Home

SOAK_SECONDS = "5"


@dataclass(frozen=True)
class Scene:
    """A page of the demo in its most telling state, there within a minute.

    ``next`` is what to do on it. A backfill takes ``backfill_seconds``, whatever the machine and
    the number of rows; with 0 it has no limit. Of a rollout that waits for a lock, the guardrails
    would soon make one that is paused, so its scene has no ``traffic``.
    """

    next: str
    rows: int = 20_000
    backfill_seconds: int = 0
    traffic: bool = True


FRESH = "fresh"
SCENES = {
    # Long enough to watch the backfill, pause it and see it throttled.
    FRESH: Scene("follow the guide on that page, to phase 4 and back", 50_000, 45),
    "backfilling": Scene("watch the rate, pause it, set another row limit", 50_000, 180),
    "mismatches": Scene("open the rows of a pair, then repair them all"),
    "blocked": Scene("see who holds the lock, and terminate that session", traffic=False),
    "contract": Scene("read what is dropped, then start phase 4"),
}
# More rows are not counted: they take longer than this without a limit.
MOST_COUNTED = 3_000_000


class BadVariable(ValueError):
    """A variable has a value that cannot be meant."""


@dataclass(frozen=True, kw_only=True)
class Variables:
    home: Home
    port: int
    rows: int
    listings: Path | None
    traffic: bool
    reset: bool
    strict: bool
    scene: str
    database_url: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Variables":
        """Raises BadVariable, whose message says which and what is possible."""
        given = {name: value.strip() for name, value in environ.items() if value.strip()}
        name = _choice(given, "SCENE", tuple(SCENES))
        scene = SCENES[name]
        variables = cls(
            home=Home.from_environ(given),
            port=_whole_number(given, "PORT", 8000, least=1, most=65535),
            rows=_whole_number(given, "ROWS", scene.rows, least=0, most=100_000_000),
            listings=_readable_file(given, "LISTINGS"),
            traffic=_switch(given, "TRAFFIC", default=scene.traffic),
            reset=_switch(given, "RESET", default=False),
            strict=_switch(given, "STRICT", default=False),
            scene=name,
            database_url=_postgresql(given, "DATABASE_URL"),
        )
        if variables.reset and variables.database_url:
            raise BadVariable(
                "RESET=1 resets the embedded PostgreSQL only, not DATABASE_URL. Drop and create "
                "that database yourself, then start without RESET"
            )
        return variables

    @property
    def _soak(self) -> str:
        """Without traffic nothing is measured, and a soak would not end."""
        return SOAK_SECONDS if self.traffic else "0"

    def shared(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Settings of the demo's processes and its shell; what the environment says comes first."""
        shared = {"DEMO": "1", "DEMO_STRICT": "1" if self.strict else ""}
        if not self.strict:
            shared |= {"SOAK_SECONDS": self._soak}
        if self.scene != FRESH:
            # Nothing is rehearsed or soaked before a scene, which must be there within a minute.
            shared |= {"SOAK_SECONDS": "0", "REHEARSED": ""}
        return shared | {name: environ[name] for name in shared if name in environ}

    def rows_per_second(self, rows: int) -> int:
        """The limit with which a backfill of so many rows takes its time; 0 for none."""
        is_usual = self.strict and self.scene == FRESH
        seconds = 0 if is_usual else SCENES[self.scene].backfill_seconds
        return math.ceil(rows / seconds) if seconds and rows < MOST_COUNTED else 0


def _whole_number(
    given: Mapping[str, str], name: str, default: int, *, least: int, most: int
) -> int:
    text = given.get(name, str(default))
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not least <= number <= most:
        raise BadVariable(f"{name} must be an integer from {least} to {most}, not {text!r}")
    return number


def _switch(given: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = given.get(name, "1" if default else "0")
    if text not in {"0", "1"}:
        raise BadVariable(f"{name} must be 0 or 1, not {text!r}")
    return text == "1"


def _choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The first of the choices where nothing is given."""
    text = given.get(name, choices[0])
    if text not in choices:
        raise BadVariable(
            f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {text!r}"
        )
    return text


def _readable_file(given: Mapping[str, str], name: str) -> Path | None:
    if name not in given:
        return None
    path = Path(given[name]).expanduser().resolve()
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise BadVariable(f"{name}: {path} cannot be read: {error.strerror}") from error


def _postgresql(given: Mapping[str, str], name: str) -> str | None:
    url = given.get(name)
    if url is not None and not url.startswith(("postgresql://", "postgres://")):
        raise BadVariable(f"{name} must begin with postgresql://, not {url!r}")
    return url
