from __future__ import annotations

import re
import time
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from properties import catalog
from properties.listings import Filters
from properties.traffic import Traffic
from tests.properties.shapes import ShapeName
from tests.support.processes import PATIENCE, manage_process, stopped_after
from tests.support.servers import Database


def quiet(line: str) -> None:
    pass


@pytest.mark.slow
def test_two_seconds_of_traffic_report_themselves_and_meet_no_error(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow machine does fewer than a hundred operations in that time.
    monkeypatch.setattr("properties.traffic.REPORT_EVERY", 1)
    out = StringIO()
    call_command("traffic", "--rate", "100", "--duration", "2", stdout=out)
    lines = out.getvalue().splitlines()
    assert re.fullmatch(r"\d+ operations?, 0 errors", lines[0])
    assert lines[-1].startswith("Stopped after ")
    assert lines[-1].endswith(" operations, 0 errors.")


def test_every_operation_works_in_every_shape(shape: ShapeName) -> None:
    traffic = Traffic(seed=2, report=quiet)
    for verb in (traffic.create, traffic.update, traffic.search, traffic.show, traffic.upload):
        verb()
    for _ in range(60):
        traffic.once()
    assert traffic.errors == 0, traffic.summary()
    assert catalog.search(Filters()).listings


@pytest.mark.parametrize(("until", "seconds"), [(60, 0.15), (-1, 0.0), (None, 0.0)])
def test_each_operation_is_slow_until_the_time_in_the_file(
    db: None, tmp_path: Path, until: float | None, seconds: float
) -> None:
    file = tmp_path / "slow-until"
    if until is not None:
        file.write_text(f"{time.time() + until}\n")
    traffic = Traffic(seed=1, report=quiet, slow_until=file)
    slept: list[object] = []

    def noting(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "pg_sleep" in sql:
            slept.extend(params)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(noting):
        traffic.do(traffic.create)
    assert slept == ([seconds] if seconds else [])


def test_traffic_ends_on_request(db: None) -> None:
    stop = Event()
    traffic = Traffic(seed=1, report=quiet)
    stop.set()
    began = time.monotonic()
    traffic.run(stop, rate=0.001)
    assert time.monotonic() - began < PATIENCE
    assert traffic.operations == 0


def test_a_lost_connection_is_counted_and_the_next_operation_makes_a_new_one(
    committed_db: Database,
) -> None:
    traffic = Traffic(seed=1, report=quiet)
    traffic.once()
    with psycopg.connect(committed_db.url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    traffic.once()
    assert traffic.errors == 1
    assert "(last: OperationalError: " in traffic.summary()
    traffic.once()
    assert traffic.errors == 1


def test_sigterm_ends_the_process_cleanly(committed_db: Database, tmp_path: Path) -> None:
    command = manage_process(
        "traffic", "--rate", "100", env=committed_db.env(), log=tmp_path / "traffic.log"
    )
    with stopped_after(command):
        command.wait_for(lambda: "100 operations, 0 errors" in command.output())
        assert command.stop() == 0
    assert command.output().splitlines()[-1].startswith("Stopped after ")


@pytest.mark.parametrize("rate", ["0", "-1", "inf", "fast"])
def test_a_rate_that_is_no_rate_is_refused(rate: str) -> None:
    with pytest.raises(CommandError, match="--rate"):
        call_command("traffic", f"--rate={rate}")
