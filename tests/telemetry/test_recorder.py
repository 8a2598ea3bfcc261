"""What reaches the journal from a process: in time, at its end, and when the database was away."""

import signal
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psycopg

from config.home import ROOT
from rollout.models import Measurement
from rollout.telemetry.histogram import Histogram, total
from rollout.telemetry.reading import figures
from rollout.telemetry.recorder import INTERVAL_SECONDS
from tests.processes import Running, stopped_after, wait_until
from tests.servers import Database

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


def calls() -> int:
    return sum(Measurement.objects.values_list("calls", flat=True))


def test_a_process_loses_one_interval_at_most_when_killed_and_nothing_when_asked_to_end(
    committed_db: Database, tmp_path: Path
) -> None:
    logs = [tmp_path / "one", tmp_path / "two"]
    with ExitStack() as stack:
        killed, lives = (
            stack.enter_context(stopped_after(at_work(committed_db, log))) for log in logs
        )
        killed.wait_for(lambda: killed.output().count("\n") > 450)
        killed.process.kill()
        killed.process.wait(10)
        # Each line is the time of a call that was measured.
        times = [float(line) for line in killed.output().split()]
        name = Measurement.objects.values_list("process", flat=True)
        wait_until(lambda: len(set(name.all())) == 2)
        of_killed = Measurement.objects.filter(process__endswith=f":{killed.pid}")
        written = sum(of_killed.values_list("calls", flat=True))
        assert 0 < written <= len(times)
        lost = [at for at in times[written:] if at < times[-1] - INTERVAL_SECONDS - 1]
        assert lost == []
        # One that is asked to end leaves nothing behind.
        lives.process.send_signal(signal.SIGTERM)
        lives.process.wait(10)
        of_other = Measurement.objects.filter(process__endswith=f":{lives.pid}")
        calls = sum(of_other.values_list("calls", flat=True))
        assert calls - len(lives.output().split()) in (0, 1)
    # Histograms of different processes add up to that of all calls.
    rows = Measurement.objects.all()
    everything = total(Histogram.of_json(row.durations) for row in rows)
    assert len(everything) == sum(row.calls for row in rows)
    assert figures(*_all_the_time())["work"].durations == everything


def _all_the_time() -> tuple[datetime, datetime]:
    return datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)


def test_what_a_database_that_is_away_did_not_take_is_written_later(
    committed_db: Database, tmp_path: Path
) -> None:
    with stopped_after(at_work(committed_db, tmp_path / "log")) as process:
        process.wait_for(lambda: calls() > 0)
        with psycopg.connect(committed_db.url, autocommit=True) as connection:
            connection.execute("ALTER TABLE rollout_measurement RENAME TO away")
            process.wait_for(lambda: "Measurements wait" in process.output())
            connection.execute("ALTER TABLE away RENAME TO rollout_measurement")
        before = calls()
        wait_until(lambda: calls() > before)
        # Nothing is missing: the intervals follow each other.
        times = sorted(Measurement.objects.values_list("at", flat=True))
        gaps = {(b - a).total_seconds() for a, b in pairwise(times)}
        assert gaps <= {0.0, float(INTERVAL_SECONDS)}
