"""Where the site keeps what is not in the database: one directory, `ROLLOUT_HOME`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """The directory and the names in it. A relative `ROLLOUT_HOME` starts at the repository."""

    path: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Home":
        return cls((ROOT / (environ.get("ROLLOUT_HOME") or ".rollout")).resolve())

    @property
    def database_url(self) -> Path:
        """Names the database of the running demo, so that `manage.py` needs no settings."""
        return self.path / "database-url"

    @property
    def secret_key(self) -> Path:
        return self.path / "secret-key"

    @property
    def demo_password(self) -> Path:
        return self.path / "demo-password"

    @property
    def demo_variables(self) -> Path:
        """What else the running demo shares with its shell."""
        return self.path / "demo-variables"

    def shared_variables(self) -> dict[str, str]:
        """Those variables; none where no demo runs."""
        variables: dict[str, str] = json.loads(read_or_none(self.demo_variables) or "{}")
        return variables

    @property
    def slow_until(self) -> Path:
        """Seconds since 1970 until which the demo's application is slow; absent at first."""
        return self.path / "slow-until"

    @property
    def listings_loading(self) -> Path:
        """There while listings are being loaded: one that was interrupted is finished next time."""
        return self.path / "listings-loading"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def static(self) -> Path:
        return self.path / "static"

    @property
    def media(self) -> Path:
        return self.path / "media"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    @property
    def lock(self) -> Path:
        return self.path / "lock"


def read_or_none(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
