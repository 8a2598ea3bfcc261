"""What reaches the journal from a process: in time, at its end, and when the database was away."""

import signal
import sys
from itertools import pairwise
from pathlib import Path

import psycopg

from config.home import ROOT
from rollout.models import Measurement
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
"""


def at_work(database: Database, log: Path) -> Running:
    env = database.env(ROLLOUT_TELEMETRY="1", PYTHONPATH=str(ROOT))
    return Running([sys.executable, "-c", WORK], env=env, log=log)


def calls() -> int:
    return sum(Measurement.objects.values_list("calls", flat=True))


def test_a_process_writes_every_few_seconds_and_what_is_left_at_its_end(
    committed_db: Database, tmp_path: Path
) -> None:
    with stopped_after(at_work(committed_db, tmp_path / "log")) as process:
        process.wait_for(lambda: calls() > 0)
        before = calls()
        process.process.send_signal(signal.SIGTERM)
        process.process.wait(10)
    assert calls() > before
    assert set(Measurement.objects.values_list("operation", flat=True)) == {"work"}


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
