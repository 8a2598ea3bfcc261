"""Who still reads the legacy columns, as far as names of sessions and statements tell."""

from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from rollout import gates
from rollout.engine.target import OWN_ROWS
from rollout.gates import Evidence
from rollout.gates.readers import check_sessions, reads_legacy
from rollout.models import PhaseRun, Rollout, RunState
from rollout.plan.gates import NoLegacyReaders
from rollout.runner.audits import make_now
from tests.console import journal
from tests.support import rollouts
from tests.support.pages import addresses_of_the_console
from tests.support.servers import Database

GATE = NoLegacyReaders(application="shop", oldest="2.10")
NAMES = {"properties": ["type", "status"]}


@pytest.mark.parametrize(
    ("sessions", "status", "reason"),
    [
        (
            [("shop/2.10", 4, []), ("shop/3.0", 1, []), ("rollout", 2, []), ("psql", 1, [])],
            "pass",
            "5 sessions",
        ),
        ([("shop/2.9", 3, []), ("", 1, [])], "fail", "shop/2.9 (3)"),
        ([("shop/2.10", 1, []), ("", 2, [])], "unknown", "without a name (2)"),
        ([("shop", 1, [])], "unknown", "shop (1)"),
        ([("metabase", 1, [])], "unknown", "application_name to shop/VERSION"),
        ([], "pass", "0 sessions"),
        ([("shop/2.9", 3, ["10.0.0.5", "10.0.0.6"])], "fail", "(3 from 10.0.0.5, 10.0.0.6)"),
        ([("shop", 1, list("abcde"))], "unknown", "shop (1 from a, b, c, 2 more)"),
    ],
)
def test_sessions_are_identified_by_their_names(
    sessions: list[tuple[str, int, list[str]]], status: str, reason: str
) -> None:
    result = check_sessions(GATE, sessions)
    assert result.status == status
    assert reason in result.message


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
def test_statements_are_identified_by_what_they_name(query: str, reads: bool) -> None:
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
    assert status_of_readers(rollout) == "pass"
    with psycopg.connect(committed_db.url, application_name="properties/0.0.9"):
        assert status_of_readers(rollout) == "fail"
    with psycopg.connect(committed_db.url, application_name=""):
        assert status_of_readers(rollout) == "unknown"


def status_of_readers(rollout: Rollout) -> str:
    gates.invalidate()
    gate = NoLegacyReaders(application="properties", oldest="0.1")
    return gates.check_gate(gate, Evidence(rollout, 4)).status


def test_console_after_the_cutover_is_no_legacy_reader(filled: Rollout) -> None:
    if "pg_stat_statements" not in rollouts.ask("SHOW shared_preload_libraries"):
        pytest.skip("the server does not load pg_stat_statements")
    rollouts.execute("CREATE EXTENSION pg_stat_statements")
    # Other tests fill it: without room the server forgets statements.
    rollouts.execute("SELECT pg_stat_statements_reset()")
    # What ran only before the cutover blocks nothing.
    rollouts.ask("SELECT count(type) FROM properties")
    rollouts.carry_out(filled, 3)
    assert status_of_readers(filled) == "pass"
    rollouts.ask("SELECT count(type) FROM properties")
    assert status_of_readers(filled) == "fail"
    rollouts.execute("SELECT pg_stat_statements_reset()")
    browser = journal.browser_of("lead")
    for address in addresses_of_the_console(filled):
        for headers in ({}, journal.HTMX):
            browser.get(address, headers=headers)
    browser.get(f"{journal.PAGE}phases/4/preflight/", headers=journal.HTMX)
    rollouts.snapshot_of(filled)
    make_now(filled, actor_name="ada", source="shell")
    make_now(filled, actor_name="ada", source="shell", sample=20)
    with rollouts.target() as opened:
        queries = opened.execute(
            "SELECT query FROM pg_stat_statements WHERE dbid ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
    assert [query for (query,) in queries if reads_legacy(query, NAMES)] == []
