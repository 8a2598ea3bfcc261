"""What docs/deploy says can be done: files parse, commands exist, every setting is in the table."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.home import ROOT
from rollout.conf import SETTINGS
from tests.support.documents import assert_can_be_run
from tests.support.processes import completed

DEPLOY = ROOT / "docs/deploy"
GUIDE = (ROOT / "docs/settings.md").read_text()
UNITS = sorted(DEPLOY.glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_there_is_and_signals_its_main_process_alone(unit: Path) -> None:
    text = unit.read_text()
    command = re.search(r"^ExecStart=(.+)$", text, re.M)
    assert command
    assert_can_be_run(shlex.split(command[1]))
    assert "\nKillMode=mixed\n" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        # The programs stand elsewhere here.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.M)
        (tmp_path / unit.name).write_text(text.replace("User=rollout", "User=root"))
    done = completed(
        ["systemd-analyze", "verify", *map(str, tmp_path.glob("*.service"))],
        env={"SYSTEMD_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"},
    )
    complaints = [line for line in done.stderr.splitlines() if "rollout-" in line]
    assert complaints == []


def test_the_compose_file_runs_each_process_and_what_it_needs() -> None:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "redis", "migrate", "web", "worker", "watchdog"}
    for name in ("migrate", "worker", "watchdog"):
        assert_can_be_run(services[name]["command"])
    ours = [service for service in services.values() if service["image"] == "rollout"]
    used = {volume.partition(":")[0] for service in ours for volume in service["volumes"]}
    assert used <= set(compose["volumes"])
    for variable in services["web"]["environment"]:
        assert f"| `{variable}` |" in GUIDE
    assert (DEPLOY / services["web"]["build"]["context"]).resolve() == ROOT


def test_the_image_copies_and_runs_what_there_is() -> None:
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY "):
            *sources, _target = line.split()[1:]
            assert all((ROOT / source).exists() for source in sources), line
    command = next(line for line in lines if line.startswith("CMD "))
    assert_can_be_run(yaml.safe_load(command.removeprefix("CMD ")))
    assert "python manage.py collectstatic" in "\n".join(lines)
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.search(r"'\.\[(.+)\]'", "\n".join(lines))
    assert extras
    assert all(f"\n{extra} = [" in project for extra in extras[1].split(","))


NOT_FOR_PRODUCTION = {"ROLLOUT_TESTING"}
READS = r"(?:flag|words|whole_number|json_object|setting_or_file|environ\.get)\(\s*\"([A-Z_]+)\""


def table_under(heading: str) -> set[str]:
    section = GUIDE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.M))


def test_every_variable_that_the_site_reads_is_in_the_table_and_no_other() -> None:
    read = {
        name
        for file in ("settings.py", "home.py")
        for name in re.findall(READS, (ROOT / "config" / file).read_text())
    }
    assert read - NOT_FOR_PRODUCTION == table_under("Settings of the site")


def test_every_key_that_the_app_reads_is_a_setting_and_no_other() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "rollout").rglob("*.py"))
    read = set(re.findall(r"\bsetting\(\s*\"([A-Z_]+)\"", source))
    read |= set(re.findall(r"configured\.get\(\s*\"([A-Z_]+)\"", source)) & {"METRICS"}
    assert read == set(SETTINGS)
