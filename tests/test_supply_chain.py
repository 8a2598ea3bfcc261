"""What is installed has bounds, and an audit that did not happen is not silent."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from config.home import ROOT
from tests.support.processes import completed

SCRIPT = ROOT / ".ci" / "audit_dependencies.py"
SAFE = {"name": "safe", "version": "1.0", "vulns": []}
UNSAFE = {**SAFE, "name": "unsafe", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}


def test_whatever_runs_in_production_is_bounded_above() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(
            requirement
            for extra in ("site", "demo", "redis", "docs")
            for requirement in extras[extra]
        ),
    ]
    assert [requirement for requirement in wanted if "<" not in requirement] == [
        "rollout-console[site]"
    ]


def audit(directory: Path, printed: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The script beside a pip-audit that prints so."""
    (directory / "pip_audit.py").write_text(f"print({printed!r})")
    return completed(
        [sys.executable, str(SCRIPT)], env={**os.environ, "PYTHONPATH": str(directory), **variables}
    )


@pytest.mark.parametrize(
    ("printed", "code", "required_code"),
    [
        (json.dumps({"dependencies": [SAFE]}), 0, 0),
        (json.dumps({"dependencies": [SAFE, UNSAFE, UNKNOWN]}), 1, 1),
        (json.dumps({"dependencies": [SAFE, UNKNOWN]}), 0, 3),
        (json.dumps({"dependencies": [UNKNOWN]}), 0, 3),
        (json.dumps({"dependencies": []}), 0, 3),
        ("no JSON", 0, 3),
    ],
)
def test_an_audit_that_did_not_happen_says_so(
    tmp_path: Path, printed: str, code: int, required_code: int
) -> None:
    done = audit(tmp_path, printed)
    assert done.returncode == code
    assert audit(tmp_path, printed, AUDIT_REQUIRED="1").returncode == required_code
    assert ("NOT AUDITED." in done.stderr) == (required_code == 3)
    assert ("CVE-1, fixed in 1.1" in done.stdout) == (code == 1)
