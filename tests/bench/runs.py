"""A run of a benchmark that ends well and leaves nothing."""

import os
import sys
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

import psutil

from config.processes import MARK
from tests.support.processes import completed, wait_until


def run_bench(*arguments: str, timeout: float, **env: str) -> CompletedProcess[str]:
    """Run ``bench.<arguments>``; ``{home}`` in a variable of ``env`` is its directory."""
    # Not below pytest's own: the next pytest closes that to the server, which is another user.
    with TemporaryDirectory(prefix="rollout-tests-") as home:
        Path(home).chmod(0o711)
        own = {name: value.replace("{home}", home) for name, value in env.items()}
        done = completed(
            [sys.executable, "-m", *arguments],
            env={**os.environ, "TMPDIR": home, **own},
            timeout=timeout,
        )
        assert done.returncode == 0, done.stderr
        assert list(Path(home).iterdir()) == [], "files are left"
        wait_until(lambda: not _processes_of(home), seen=lambda: str(_processes_of(home)))
    return done


def _processes_of(home: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_of(process, home)]


def _is_of(process: psutil.Process, home: str) -> bool:
    try:
        return home in process.environ().get(MARK, "")
    except (psutil.Error, OSError):
        return False
