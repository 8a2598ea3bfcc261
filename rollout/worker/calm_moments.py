"""A statement that reads a whole table begins when neither its server nor the application suffers.

It cannot slow down once it runs, so it looks at the signs that slow a backfill down before.
"""

import time

from rollout.engine.control import Control, pause
from rollout.engine.health import read_signals
from rollout.engine.target import Connection
from rollout.models import Direction, PhaseRun
from rollout.plan.actions import Statement
from rollout.plan.plan import Plan
from rollout.telemetry.signals import application_signals

# A server that is never calm is no reason never to end: people see meanwhile what is waited for.
MAX_WAIT_SECONDS = 600.0
LOOK_SECONDS = 1.0


def wait_for_calm(
    connection: Connection, statement: Statement, run: PhaseRun, plan: Plan, control: Control
) -> None:
    """Wait until no sign is above its bound, for 10 minutes at most. A rollback does not wait.

    Raises Interrupted.
    """
    if not statement.scans or run.direction != Direction.FORWARD or not plan.tables:
        return
    labels = {lock.table for lock in statement.locks}
    table = next((table for table in plan.tables if table.label in labels), plan.tables[0])
    until = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < until:
        signals = [*read_signals(connection, table), *application_signals(run)]
        above = [signal for signal in signals if signal.status in ("throttle", "stop")]
        if not above:
            break
        control.report_wait(f"a calm moment: {above[0].reason}")
        pause(LOOK_SECONDS, control)
    control.report_wait("")
