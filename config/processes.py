"""The demo's processes: started in sessions of their own, found again by a mark, stopped.

The mark is a variable in their environment, and so in that of whatever they start in turn. It
outlives the supervisor: after a SIGKILL the next start finds what was left, without a pid file
that could name somebody else.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

MARK = "ROLLOUT_DEMO_PROCESS_OF"
STOP_SECONDS = 8


def spawn(
    command: Sequence[str], *, home: Path, environ: Mapping[str, str], output: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    """Starts a process that no signal of the terminal reaches; `output` None is ours."""
    return subprocess.Popen(
        command,
        env={**environ, MARK: str(home)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )


def marked(home: Path) -> list[psutil.Process]:
    """Every living process of the demo in `home`, those of an earlier start included."""
    return [process for process in psutil.process_iter() if _is_marked(process, home)]


def stop_all(home: Path, *, seconds: float = STOP_SECONDS) -> int:
    """Stops every process of the demo in `home`; gives how many there were.

    Only the first process of each session is asked (a signal to the whole group hangs the queue's
    cluster); what is still there when the time is up is killed.
    """
    there = marked(home)
    leaders = [process for process in there if _leads(process)]
    for process in leaders:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(leaders, timeout=seconds)
    while left := marked(home):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)
    return len(there)


def _is_marked(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get(MARK) == str(home) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def _leads(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


class Kept:
    """A process that is to run as long as the demo does: it is started again when it ends."""

    LONGEST_PAUSE = 30.0
    # Having run this long, a process is thought sound: its next restart comes at once.
    SOUND_AFTER = 60.0

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        home: Path,
        log: Path,
        environ: Mapping[str, str],
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._home = home
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = 1.0
        self._due: float | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = spawn(
                self._command, home=self._home, environ=self._environ, output=output
            )
        self._started = time.monotonic()
        self._due = None

    def look_after(self) -> str | None:
        """Starts the process again when it has ended and its pause is over; says what it saw."""
        now = time.monotonic()
        if self._due is not None:
            if now >= self._due:
                self.start()
            return None
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._pause = 1.0 if now - self._started > self.SOUND_AFTER else self._pause * 2
        self._pause = min(self._pause, self.LONGEST_PAUSE)
        self._due = now + self._pause
        return (
            f"{self.name} exited ({_ending(code)}); restarting in {self._pause:.0f} s. "
            f"Log: {self.log}"
        )


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
