"""Virtual environments of the peers, each with its packages from the registry."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from config.home import ROOT

PIP_SECONDS = 600


class NotRunning(Exception):
    """A peer does not run here; the message is the reason."""


@dataclass(frozen=True)
class Environment:
    """Packages that one virtual environment has together."""

    name: str
    packages: tuple[str, ...]

    def python(self) -> Path:
        """The environment's interpreter; the environment is made where it is not there yet.

        Raises NotRunning.
        """
        directory = Path(os.environ.get("PEERS_HOME", ROOT)) / f".venv-peers-{self.name}"
        python, mark = directory / "bin" / "python", directory / ".installed"
        wanted = "\n".join(self.packages)
        if not mark.exists() or mark.read_text() != wanted:
            shutil.rmtree(directory, ignore_errors=True)
            _run([os.environ.get("PEERS_PYTHON", "python3.12"), "-m", "venv", str(directory)])
            _run(
                [
                    *(str(python), "-m", "pip", "install", "--quiet"),
                    *("--disable-pip-version-check", *self.packages),
                ]
            )
            mark.write_text(wanted)
        return python

    def versions(self) -> str:
        """What is installed of the packages that are named."""
        names = [re.split(r"[^\w-]", package)[0] for package in self.packages]
        return versions(self.python(), names)


def versions(python: Path, names: Iterable[str]) -> str:
    """The version of an interpreter, and those of packages that it has. Raises NotRunning."""
    code = (
        "import platform, sys; from importlib.metadata import version;"
        "print(', '.join([f'Python {platform.python_version()}',"
        " *(f'{name} {version(name)}' for name in sys.argv[1:])]))"
    )
    return _run([str(python), "-c", code, *names])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PIP_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRunning(str(error)) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        reason = (errors or lines or ["no output"])[-1].strip()
        raise NotRunning(f"{' '.join(command[:3])} ends with {done.returncode}: {reason}")
    return done.stdout.strip()


DJANGO = Environment(
    "django",
    ("Django>=6,<6.1", "django-maintenance-tasks==0.2.1", "django-tasks-db", "psycopg[binary]"),
)
# It asks for any dbt-core, and works with none that is newer, and with no pydantic 2.
DATA_DIFF = Environment(
    "data-diff", ("data-diff==0.11.2", "dbt-core<1.10", "pydantic<2", "psycopg2-binary")
)
