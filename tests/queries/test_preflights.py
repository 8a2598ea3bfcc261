"""A start looks once more at what could go wrong, refuses on it, and writes down what it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.servers import Database

if TYPE_CHECKING:
    from rollout.models import Rollout


@pytest.fixture
def backfilled(filled: Rollout) -> Rollout:
    from tests.support import rollouts

    rollouts.snapshot_of(filled)
    return filled


def test_findings_are_recorded_with_the_start(properties: Rollout) -> None:
    from rollout import runner
    from rollout.models import LogEntry
    from tests.support.rollouts import ADA

    runner.start(properties, 0, actor=ADA)
    entry = LogEntry.objects.get(event="phase started")
    seen = {item["name"]: item for item in entry.data["preflight"]}
    assert seen["server version"] == {"name": "server version", "level": "pass", "phase": 0}
    assert "schema" in seen


def test_a_blocking_finding_refuses_the_start_and_leaves_nothing_behind(
    backfilled: Rollout,
) -> None:
    from rollout import runner
    from tests.support import rollouts

    with rollouts.target() as other:
        other.execute("SET session_replication_role = replica")
        other.execute("UPDATE properties SET property_type_id = 999 WHERE city <> ''")
    with pytest.raises(
        runner.Refused, match=r"Preflight “orphans in properties.property_type_id”: 300 rows"
    ):
        rollouts.start(backfilled, 3)
    assert not backfilled.runs.filter(phase=3).exists()
    with rollouts.target() as other:
        other.execute("SET session_replication_role = replica")
        other.execute(
            "UPDATE properties p SET property_type_id = m.lookup_id"
            ' FROM rollout."property-classification_properties_type_mapping" m'
            " WHERE m.legacy = coalesce(p.type, '')"
        )
    assert rollouts.start(backfilled, 3).phase == 3


def test_an_unknown_finding_refuses_nothing_and_is_recorded(
    backfilled: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.engine.preflight import Item, Preflight
    from rollout.models import LogEntry
    from rollout.queries import preflights
    from tests.support import rollouts

    unknown = Preflight([Item("free disk", "unknown", "It cannot be seen.", phase=3)], [])
    monkeypatch.setattr(preflights, "preflight_of", lambda rollout, phase: unknown)
    rollouts.start(backfilled, 3)
    entry = LogEntry.objects.filter(event="phase started", phase=3).get()
    assert entry.data["preflight"] == [
        {
            "name": "free disk",
            "level": "unknown",
            "phase": 3,
            "evidence": "It cannot be seen.",
            "advice": "",
        }
    ]


def test_a_transaction_on_the_table_that_is_forgotten_keeps_the_phase_from_starting(
    prepared: Rollout, committed_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace
    from datetime import timedelta

    from rollout import runner
    from rollout.engine import preflight
    from tests.support import rollouts

    impatient = replace(preflight.USUAL, idle_transaction=timedelta())
    run = preflight.run
    monkeypatch.setattr(
        preflight, "run", lambda *args, **more: run(*args, **more, limits=impatient)
    )
    with (
        rollouts.locked("SELECT count(*) FROM properties"),
        pytest.raises(runner.Refused, match="Preflight “idle in transaction”: PID"),
    ):
        rollouts.start(prepared, 1)
    rollouts.start(prepared, 1)


def test_a_blocking_finding_refuses_a_retry_and_leaves_the_run_unchanged(
    backfilled: Rollout,
) -> None:
    from rollout import runner
    from rollout.journal.transitions import move
    from rollout.models import LogEntry, RunState
    from tests.support import rollouts
    from tests.support.rollouts import ADA

    run = rollouts.start(backfilled, 3)
    move(run, RunState.CANCELLED)
    with rollouts.target() as other:
        other.execute("SET session_replication_role = replica")
        other.execute("UPDATE properties SET property_type_id = 999 WHERE city <> ''")
    with pytest.raises(runner.Refused, match="Preflight “orphans in properties"):
        runner.retry(backfilled, actor=ADA)
    assert rollouts.state_of(run) == RunState.CANCELLED
    with rollouts.target() as other:
        other.execute("SET session_replication_role = replica")
        other.execute(
            "UPDATE properties SET property_type_id = (SELECT min(id) FROM property_types)"
        )
    runner.retry(backfilled, actor=ADA)
    seen = {item["name"] for item in LogEntry.objects.get(event="retried").data["preflight"]}
    assert {"rights", "schema", "idle in transaction"} <= seen
