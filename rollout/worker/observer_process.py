"""The process beside a rehearsal, which its worker starts by ``python -m`` and this name.

It runs the plan's traffic as an application would, in a process of its own, and looks at the
locks. Its instructions are the first line of its input, its observations are the lines that it
writes; when its input ends, because the worker stopped or died, it ends too.
"""

import json
import sys
import threading
import time
from collections import deque
from typing import IO, Any

TELL_EVERY = 0.2
DATABASE = "rehearsal"


def main() -> None:
    out = sys.stdout
    sys.stdout = sys.stderr  # What an application prints is none of the observations.
    instructions: dict[str, Any] = json.loads(sys.stdin.readline())
    import django

    django.setup()
    observe(instructions, sys.stdin, out)


def observe(instructions: dict[str, Any], commands: IO[str], out: IO[str]) -> None:
    """Work until the commands end."""
    import psycopg
    from django.conf import settings
    from django.db import connections
    from django.utils.module_loading import import_string

    from rollout.engine.rehearsal import locks
    from rollout.engine.rehearsal.fingerprints import TRAFFIC

    # What this traffic takes says nothing of the application in production.
    name = "ROLLOUT"
    setattr(settings, name, {**getattr(settings, name, {}), "TELEMETRY": False})
    database = instructions["database"]
    database["OPTIONS"] = {**database.get("OPTIONS", {}), "application_name": TRAFFIC}
    connections.databases[DATABASE] = database
    stop = threading.Event()
    seen: deque[locks.Seen] = deque()
    operations: deque[tuple[float, float, str]] = deque()
    pace = locks.Pace()
    work = [
        threading.Thread(
            target=_look, args=(psycopg, instructions["target"], stop, seen, pace), daemon=True
        )
    ]
    if instructions["traffic"]:
        operation = import_string(instructions["traffic"])(
            using=DATABASE, seed=instructions["seed"]
        )
        operation()  # What the first one takes is the time to connect.
        work.append(
            threading.Thread(
                target=_carry_out,
                args=(operation, instructions["rate"], stop, operations),
                daemon=True,
            )
        )
    for thread in work:
        thread.start()
    threading.Thread(target=_wait_for_end, args=(commands, stop), daemon=True).start()
    while not pace.looked_at and not stop.wait(0.02):
        pass
    _tell(out, ready=True)
    while not stop.wait(TELL_EVERY):
        _tell_seen(out, operations, seen, pace)
    for thread in work:
        thread.join(5)
    _tell_seen(out, operations, seen, pace)


def _look(psycopg: Any, target: dict[str, Any], stop: Any, seen: Any, pace: Any) -> None:
    from rollout.engine.rehearsal import locks

    while not stop.is_set():
        try:
            with psycopg.connect(
                **target, autocommit=True, application_name="rollout rehearsal observer"
            ) as connection:
                locks.watch(connection, stop, seen.append, pace)
        except psycopg.Error:
            stop.wait(0.5)


def _carry_out(operation: Any, rate: float, stop: Any, operations: Any) -> None:
    """One operation after the other, as many a second as were requested."""
    from django.db import close_old_connections

    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        began, clock, error = time.time(), time.perf_counter(), ""
        try:
            operation()
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"[:500]
            close_old_connections()
        operations.append((began, time.perf_counter() - clock, error))
        due = max(due + 1 / rate, time.monotonic() - 1)


def _wait_for_end(commands: IO[str], stop: Any) -> None:
    while commands.readline():
        pass
    stop.set()


def _tell_seen(out: IO[str], operations: Any, seen: Any, pace: Any) -> None:
    # Before the locks are taken: what was seen by then is among them.
    looked_at = pace.looked_at
    _tell(
        out,
        operations=[operations.popleft() for _ in range(len(operations))],
        locks=[seen.popleft() for _ in range(len(seen))],
        period=pace.period,
        looked_at=looked_at,
    )


def _tell(out: IO[str], **what: Any) -> None:
    out.write(json.dumps(what) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
