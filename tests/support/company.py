"""Another project than this one, made by Django's own commands, with the built wheel in it.

Nothing but the wheel and what it depends on can be imported there.
"""

import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from config import embedded
from config.home import ROOT
from tests.support.company_files import (
    APPS,
    DRIVE,
    MEMBER,
    READINGS_TABLES,
    ROUTER,
    SERVE,
    SETTINGS,
    SHOP_PLAN,
    SHOP_TABLES,
    URLS,
)
from tests.support.django_projects import MANAGE
from tests.support.processes import completed


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def build_distributions(directory: Path) -> Path:
    """Build the source distribution, and the wheel from that; the wheel."""
    run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT)],
        cwd=directory,
    )
    (wheel,) = directory.glob("*.whl")
    return wheel


def run(
    command: list[str], *, cwd: Path, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    done = completed(command, cwd=cwd, env=env)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done


@dataclass(frozen=True)
class Company:
    """The project, and the virtual environment that it has to itself."""

    directory: Path
    environment: Path
    variables: dict[str, str]

    @property
    def python(self) -> str:
        return str(self.environment / "bin" / "python")

    @property
    def env(self) -> dict[str, str]:
        inherited = ("PATH", "TMPDIR", "LANG", "LD_LIBRARY_PATH")
        return {
            **{name: os.environ[name] for name in inherited if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "company.settings",
            **self.variables,
        }

    def run(self, *arguments: str) -> str:
        return run([self.python, *arguments], cwd=self.directory, env=self.env).stdout

    def manage(self, *arguments: str) -> str:
        return self.run("manage.py", *arguments)

    def manage_in_turn(self, *commands: tuple[str, ...]) -> str:
        """The same for several commands, which share a process: each loads the whole project."""
        return self.run("in_turn.py", *[word for c in commands for word in (*c, "--then")][:-1])

    def write(self, name: str, text: str) -> None:
        write(self.directory / name, text)

    def add_to(self, name: str, text: str) -> None:
        write(self.directory / name, (self.directory / name).read_text() + text)


def make_environment(directory: Path, wheel: Path) -> None:
    """A virtual environment with the wheel, and what it says that it depends on."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(directory)
    (packages,) = directory.glob("lib/python*/site-packages")
    for distribution in needed_by(wheel):
        for name in {file.parts[0] for file in distribution.files or () if ".." not in file.parts}:
            if name != "__pycache__" and not (packages / name).exists():
                (packages / name).symlink_to(Path(str(distribution.locate_file(name))))
    run(
        [
            *(sys.executable, "-m", "pip", "--python", str(directory / "bin" / "python")),
            *("install", "--quiet", "--no-deps", "--no-index", str(wheel)),
        ],
        cwd=directory,
    )


def needed_by(wheel: Path) -> Iterator[metadata.Distribution]:
    """The distributions that the wheel requires without any extra, and that those require."""
    (of_wheel,) = metadata.distributions(path=[str(wheel)])
    waiting = [of_wheel]
    seen: set[str] = set()
    while waiting:
        for requirement in waiting.pop().requires or ():
            name = re.split(r"[^\w.-]", requirement)[0].lower()
            extra = re.search(r"extra == [\"']([\w-]+)", requirement)
            if name in seen or (extra and (name, extra[1]) != ("psycopg-binary", "binary")):
                continue
            seen.add(name)
            try:
                distribution = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                continue  # For another system or version of Python.
            yield distribution
            waiting.append(distribution)


def make_company(directory: Path, environment: Path, variables: dict[str, str]) -> Company:
    """The project as Django's own commands make it, and its settings."""
    company = Company(
        directory / "site", environment, {"PG_BIN": str(embedded.program("pg_dump").parent)}
    )
    company.variables.update(variables)
    company.directory.mkdir()
    env = {**company.env, "DJANGO_SETTINGS_MODULE": ""}
    run(
        [company.python, "-m", "django", "startproject", "company", "."],
        cwd=company.directory,
        env=env,
    )
    for app in APPS:
        company.write(f"{app}/__init__.py", "")
        company.write(f"{app}/migrations/__init__.py", "")
    company.add_to("company/settings.py", SETTINGS)
    company.write("company/router.py", ROUTER)
    company.write("company/urls.py", URLS)
    company.write("serve.py", SERVE)
    company.write("in_turn.py", MANAGE)
    company.write("drive.py", DRIVE)
    company.write("staff/models.py", MEMBER)
    company.write("shop/rollout.py", SHOP_PLAN)
    company.write("shop/migrations/0001_initial.py", SHOP_TABLES)
    company.write("readings/migrations/0001_initial.py", READINGS_TABLES)
    return company
