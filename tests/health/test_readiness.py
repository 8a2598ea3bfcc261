"""What load balancers ask: does the process live, and can the site do its work?"""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.postgresql.base import DatabaseWrapper
from django.test import Client

from rollout.health import readiness
from tests.console import journal


@pytest.fixture
def probe() -> Client:
    return Client()


def test_a_process_that_answers_lives_and_asks_no_database(probe: Client) -> None:
    # Without the mark of pytest-django any query would fail.
    answer = probe.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
class TestReadyz:
    def test_a_site_with_all_processes_running_is_ready(self, probe: Client) -> None:
        journal.processes_run()
        answer = probe.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ready"
        assert {
            name: check["ok"] for name, check in answer.json()["checks"].items()
        } == dict.fromkeys(("database", "migrations", "engine", "worker", "watchdog"), True)
        assert "no-store" in answer["Cache-Control"]

    def test_a_site_without_workers_is_not_ready_and_says_what_to_do(self, probe: Client) -> None:
        answer = probe.get("/readyz")
        assert answer.status_code == 503
        checks = answer.json()["checks"]
        assert checks["migrations"]["ok"]
        assert "manage.py qcluster" in checks["worker"]["message"]
        assert "manage.py rollout watchdog" in checks["watchdog"]["message"]
        assert "qcluster" not in checks["watchdog"]["message"]

    def test_checks_that_are_excluded_do_not_count(self, probe: Client) -> None:
        answer = probe.get("/readyz?exclude=worker&exclude=watchdog")
        assert answer.status_code == 200
        assert list(answer.json()["checks"]) == ["database", "migrations", "engine"]

    def test_a_check_that_does_not_exist_is_an_error_and_not_a_pass(self, probe: Client) -> None:
        answer = probe.get("/readyz?exclude=workers")
        assert answer.status_code == 400
        assert b"database, migrations, engine, worker, watchdog" in answer.content

    @pytest.mark.parametrize("known", [True, False])
    def test_a_migration_that_is_missing_is_noticed_also_when_it_was_there(
        self, probe: Client, known: bool
    ) -> None:
        journal.processes_run()
        readiness._known.clear()
        if known:
            assert probe.get("/readyz").status_code == 200
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM django_migrations WHERE id ="
                " (SELECT max(id) FROM django_migrations WHERE app = 'rollout')"
            )
        answer = probe.get("/readyz")
        assert answer.status_code == 503
        assert "Unapplied migrations: 1." in answer.json()["checks"]["migrations"]["message"]

    def test_a_further_look_asks_few_questions(
        self, probe: Client, django_assert_num_queries: Any
    ) -> None:
        journal.processes_run()
        probe.get("/readyz")
        with django_assert_num_queries(6):
            probe.get("/readyz")


def test_a_database_that_is_away_is_reported_once_and_without_its_address(
    monkeypatch: pytest.MonkeyPatch, probe: Client
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection to 10.0.0.7 refused")

    # On the class: what is put back on the connection itself would outlast this test.
    monkeypatch.setattr(DatabaseWrapper, "ensure_connection", away)
    monkeypatch.setattr(DatabaseWrapper, "_cursor", away)
    answer = probe.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "database": {"ok": False, "message": "Database unreachable."}
    }
