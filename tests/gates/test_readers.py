"""Who still reads the legacy columns, as far as names of sessions and statements tell."""

from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from rollout import gates
from rollout.engine.target import OWN_ROWS
from rollout.gates import Evidence
from rollout.gates.readers import of_sessions, reads_legacy
from rollout.models import PhaseRun, RunState
from rollout.plan.gates import NoLegacyReaders
from tests import rollouts
from tests.servers import Database

GATE = NoLegacyReaders(application="shop", oldest="2.10")
NAMES = {"properties": ["type", "status"]}


@pytest.mark.parametrize(
    ("sessions", "status", "said"),
    [
        ([("shop/2.10", 4), ("shop/3.0", 1), ("rollout", 2), ("psql", 1)], "pass", "5 sessions"),
        ([("shop/2.9", 3), ("", 1)], "fail", "shop/2.9 (3)"),
        ([("shop/2.10", 1), ("", 2)], "unknown", "without a name (2)"),
        ([("shop", 1)], "unknown", "shop (1)"),
        ([("metabase", 1)], "unknown", "application_name to shop/VERSION"),
        ([], "pass", "0 sessions"),
    ],
)
def test_sessions_are_told_by_their_names(
    sessions: list[tuple[str, int]], status: str, said: str
) -> None:
    found, message = of_sessions(GATE, sessions)
    assert found == status
    assert said in message


@pytest.mark.parametrize(
    ("query", "reads"),
    [
        ('SELECT "properties"."type" FROM "properties" WHERE id = $1', True),
        ("select status from properties", True),
        ("WITH x AS (SELECT type FROM properties) SELECT $1", True),
        ('SELECT "properties"."title" FROM "properties"', False),
        ('SELECT t."name" AS "type" FROM properties p JOIN property_types t ON true', False),
        ('SELECT "type" FROM "property_listing_counts"', False),
        ("UPDATE properties SET type = $1", False),
        ('SELECT p.type FROM properties p JOIN "rollout"."a mapping" m ON true', False),
        ("COPY properties (id, type) TO stdout", False),
        (f"SELECT * FROM (SELECT type FROM properties) AS {OWN_ROWS}", False),
    ],
)
def test_statements_are_told_by_what_they_name(query: str, reads: bool) -> None:
    assert reads_legacy(query, NAMES) is reads


def test_a_session_of_an_old_version_and_one_without_a_name_are_seen(
    committed_db: Database,
) -> None:
    rollout = rollouts.the_rollout()
    PhaseRun.objects.create(
        rollout=rollout,
        phase=3,
        state=RunState.DONE,
        actor_name="ada",
        finished_at=timezone.now() - timedelta(hours=1),
    )
    gate = NoLegacyReaders(application="properties", oldest="0.1")

    def status() -> str:
        gates.forget()
        return gates.answer(gate, Evidence(rollout, 4)).status

    assert status() == "pass"
    with psycopg.connect(committed_db.url, application_name="properties/0.0.9"):
        assert status() == "fail"
    with psycopg.connect(committed_db.url, application_name=""):
        assert status() == "unknown"
