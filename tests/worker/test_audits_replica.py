"""Audits that read a streaming replica: as good as the primary, or none."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from config import embedded
from rollout import runner
from rollout.engine import replica as engine_replica
from rollout.engine.audit import auditor
from rollout.engine.target import Connection, Target
from rollout.models import AuditReport, Rollout
from rollout.queries import exports
from rollout.runner import audits
from tests.engine.own_server import replica_of, server
from tests.support import rollouts
from tests.support.processes import completed
from tests.support.rollouts import ADA
from tests.support.servers import Database

ROWS = 60


@dataclass(frozen=True)
class Pair:
    """A rollout at the end of phase 2, and its environment's two servers."""

    rollout: Rollout
    primary: Connection
    replica: Connection

    def spoil(self, rows: int) -> None:
        self.primary.execute("ALTER TABLE properties DISABLE TRIGGER USER")
        self.primary.execute(
            "UPDATE properties SET currency = 'EUR' WHERE id IN"
            " (SELECT id FROM properties ORDER BY id LIMIT %s)",
            [rows],
        )
        self.primary.execute("ALTER TABLE properties ENABLE TRIGGER USER")

    def audit(self, **options: Any) -> AuditReport:
        return audits.make_now(self.rollout, actor_name="ada", source="shell", **options)


@pytest.fixture
def pair(committed_db: Database, settings: Any) -> Iterator[Pair]:
    with server({"wal_level": "replica"}) as (primary, _), primary.connect() as writing:
        _use(settings, live=primary)
        # A dump of single tables leaves out the extension of their indexes.
        writing.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
        writing.execute(_tables_of(committed_db).encode())
        writing.execute("RESET search_path")
        call_command("load_listings", rows=ROWS, database="live", verbosity=0)
        rollouts.carry_out(rollouts.the_rollout(), 0, 1, 2)
        with replica_of(primary, {}) as standby, standby.connect() as looking:
            _use(settings, live=primary, replica=standby)
            yield Pair(rollouts.the_rollout(), writing, looking)
    for alias in ("live", "replica"):
        connections[alias].close()
        del connections[alias]
        connections.databases.pop(alias)


def _tables_of(database: Database) -> str:
    """SQL that makes the application's tables."""
    tables = ("--table=properties", "--table=property_images", "--schema-only", "--no-owner")
    dump = completed([embedded.program("pg_dump"), database.url, *tables], check=True)
    # What is meant for psql alone.
    return "\n".join(line for line in dump.stdout.splitlines() if not line.startswith("\\"))


def _use(settings: Any, **targets: Target) -> None:
    for alias, target in targets.items():
        connections.databases[alias] = {
            **connections["default"].settings_dict,
            "NAME": target.parameters["dbname"],
            "USER": target.parameters["user"],
            "HOST": target.parameters["host"],
        }
    environment: Any = {"DATABASE": "live"}
    if "replica" in targets:
        environment["AUDIT_DATABASE"] = "replica"
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": {"production": environment}}


def test_a_replica_is_audited_once_it_knows_all_that_the_primary_knew_and_else_not_at_all(
    pair: Pair, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.start_audit(pair.rollout, actor=ADA)
    rollouts.work()
    report = AuditReport.objects.latest("pk")
    assert (report.status, report.database) == ("clean", "replica"), report.message
    assert report.rows >= ROWS

    # In chunks it heeds the replica's own health.
    monkeypatch.setattr(auditor, "CHUNKED_FROM_BLOCKS", 0)
    monkeypatch.setattr(auditor, "FIRST_CHUNK_BLOCKS", 1)
    assert pair.audit().status == "clean"
    monkeypatch.undo()

    # What was written before the audit was requested is in it, however far behind the replica is.
    pair.replica.execute("SELECT pg_wal_replay_pause()")
    pair.spoil(5)
    level, begun = engine_replica.wait_until_level, threading.Event()

    def resume() -> None:
        assert begun.wait(120)
        pair.replica.execute("SELECT pg_wal_replay_resume()")

    def wait_until_level(*arguments: Any, **options: Any) -> str:
        begun.set()
        return level(*arguments, **options)

    monkeypatch.setattr(engine_replica, "wait_until_level", wait_until_level)
    resumed = threading.Thread(target=resume)
    resumed.start()
    report = pair.audit()
    resumed.join()
    assert (report.status, report.mismatched) == ("mismatched", 5)
    assert len(list(exports.rows_of(report))) == 5
    assert pair.audit(sample=ROWS * 2, seed=1).mismatched == 5

    # One that stays behind, or is none, says nothing.
    patience = partial(level, seconds=0.3)
    monkeypatch.setattr(engine_replica, "wait_until_level", patience)
    pair.replica.execute("SELECT pg_wal_replay_pause()")
    pair.spoil(5)
    report = pair.audit()
    assert (report.status, report.rows) == ("inconclusive", 0)
    assert "bytes of WAL behind" in report.message
    assert "Retry the audit later" in report.message
    pair.replica.execute("SELECT pg_wal_replay_resume()")

    other = {"DATABASE": "live", "AUDIT_DATABASE": "default"}
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": {"production": other}}
    report = pair.audit()
    assert report.status == "inconclusive"
    assert "is not a replica" in report.message
