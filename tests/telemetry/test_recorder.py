"""What reaches the journal from a process: in time, at its end, and when the database was away."""

import re
import signal
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from config.home import ROOT
from rollout.models import Measurement
from rollout.telemetry.histograms import Histogram, total
from rollout.telemetry.operation_stats import stats_by_operation
from rollout.telemetry.recorder import INTERVAL_SECONDS
from tests.support.processes import PATIENCE, Running, stopped_after, wait_until
from tests.support.servers import Database

WORK = """
import signal, sys, time, django
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
django.setup()
from rollout.telemetry import operation
while True:
    with operation("work"):
        time.sleep(0.01)
    print(time.time(), flush=True)
"""


def at_work(database: Database, log: Path) -> Running:
    env = database.env(ROLLOUT_TELEMETRY="1", PYTHONPATH=str(ROOT))
    return Running([sys.executable, "-c", WORK], env=env, log=log)


def test_a_process_loses_one_interval_at_most_when_killed_and_else_nothing_at_all(
    committed_db: Database, tmp_path: Path
) -> None:
    logs = [tmp_path / "one", tmp_path / "two"]
    with ExitStack() as stack:
        killed, lives = (
            stack.enter_context(stopped_after(at_work(committed_db, log))) for log in logs
        )
        wait_until(lambda: _processes() == 2, seen=lives.output)
        # What a database that is away did not take is written later.
        with psycopg.connect(committed_db.url, autocommit=True) as connection:
            connection.execute("ALTER TABLE rollout_measurement RENAME TO away")
            for process in (killed, lives):
                process.wait_for(lambda p=process: "Measurements are kept" in p.output())  # type: ignore[misc]
            connection.execute("ALTER TABLE away RENAME TO rollout_measurement")
        begun = len(_times(killed))
        killed.wait_for(lambda: len(_times(killed)) > begun + 450)
        killed.process.kill()
        killed.process.wait(PATIENCE)
        times = _times(killed)
        written = _calls(killed)
        assert begun < written <= len(times)
        lost = [at for at in times[written:] if at < times[-1] - INTERVAL_SECONDS - 1]
        assert lost == []
        # One that is asked to end leaves nothing behind.
        lives.process.send_signal(signal.SIGTERM)
        lives.process.wait(PATIENCE)
        assert _calls(lives) - len(_times(lives)) in (0, 1)
    # Histograms of different processes add up to that of all calls.
    rows = Measurement.objects.all()
    everything = total(Histogram.of_json(row.durations) for row in rows)
    assert len(everything) == sum(row.calls for row in rows)
    assert stats_by_operation(*_all_the_time(), plan="")["work"].durations == everything


def _all_the_time() -> tuple[datetime, datetime]:
    return datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)


def _times(process: Running) -> list[float]:
    """When each call ended that was measured: a line of the output each."""
    return [float(line) for line in process.output().split("\n") if re.fullmatch(r"\d+\.\d+", line)]


def _calls(process: Running) -> int:
    rows = Measurement.objects.filter(process__endswith=f":{process.pid}")
    return sum(rows.values_list("calls", flat=True))


def _processes() -> int:
    return Measurement.objects.values("process").distinct().order_by().count()
