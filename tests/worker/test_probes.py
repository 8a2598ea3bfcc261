"""Smoke tests of the application, run by a worker."""

from typing import Any

import pytest
from django.db import connections

from rollout import gates, runner
from rollout.gates import Evidence
from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.gates import (
    ProbesPassed,
)
from rollout.worker import probes
from rollout.worker.probes import probe_all
from tests.support import rollouts
from tests.support.rollouts import ADA


def answer(rollout: Rollout) -> tuple[str, str]:
    """What the gate about smoke tests says."""
    given = gates.check_gate(ProbesPassed(), Evidence(rollout, 1))
    return given.status, given.message


class TestSmokeTests:
    def test_smoke_tests_run_by_a_worker_leave_nothing_but_their_evidence(
        self, rollout: Rollout, django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            runner.ask_to_probe(rollout, actor=ADA)
        (message,) = [message for message in rollouts.queued() if message.task.endswith("probe")]
        assert message.arguments[0] == rollout.pk
        before = rollouts_count()
        results = probe_all(rollout)
        assert [result.passed for result in results] == [True] * len(plans.get(rollout.plan).flows)
        assert all(result.message.endswith(" The test was rolled back.") for result in results)
        assert rollouts_count() == before
        assert answer(rollout)[0] == "pass"

    def test_a_failed_smoke_test_is_kept_with_its_error(
        self, rollout: Rollout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*, using: str) -> str:
            raise AssertionError("the search finds nothing")

        monkeypatch.setattr("properties.flows.search", broken)
        probe_all(rollout)
        status, message = answer(rollout)
        assert status == "fail"
        assert "the search finds nothing Fix it" in message

    def test_a_smoke_test_that_times_out_fails_and_the_others_run(
        self, rollout: Rollout, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slow(*, using: str) -> str:
            with connections[using].cursor() as cursor:
                cursor.execute("SELECT pg_sleep(60)")
            return "Never."

        settings.ROLLOUT = {**settings.ROLLOUT, "SMOKE_TEST_TIMEOUT_MS": 200}
        monkeypatch.setattr("properties.flows.create_property", slow)
        results = {result.flow: result for result in probe_all(rollout)}
        of_slow = results.pop("properties.flows.create_property")
        assert not of_slow.passed
        assert "create_property exceeded 200 ms. Add the index it needs" in of_slow.message
        assert [result.passed for result in results.values()] == [True] * 3
        assert "create_property exceeded 200 ms" in answer(rollout)[1]

    def test_a_smoke_test_that_the_database_refuses_keeps_no_other_from_running(
        self, rollout: Rollout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*, using: str) -> str:
            with connections[using].cursor() as cursor:
                cursor.execute("INSERT INTO properties (title) VALUES (NULL)")
            return "Never."

        monkeypatch.setattr("properties.flows.create_property", refused)
        passed = {result.flow: result.passed for result in probe_all(rollout)}
        assert not passed.pop("properties.flows.create_property")
        assert list(passed.values()) == [True] * 3

    def test_a_smoke_test_takes_one_core_and_no_time_to_compile(
        self, rollout: Rollout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def settings_of_the_server(*, using: str) -> str:
            with connections[using].cursor() as cursor:
                names = ["statement_timeout", "max_parallel_workers_per_gather", "jit"]
                cursor.execute("SELECT current_setting(n) FROM unnest(%s::text[]) AS n", [names])
                return " ".join(value for (value,) in cursor.fetchall())

        monkeypatch.setattr("properties.flows.search", settings_of_the_server)
        evidence = {result.flow: result.message for result in probe_all(rollout)}
        assert evidence["properties.flows.search"] == "2s 0 off The test was rolled back."

    def test_a_smoke_test_that_reads_a_large_table_in_full_is_named(
        self, rollout: Rollout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def counts(*, using: str) -> str:
            with connections[using].cursor() as cursor:
                cursor.execute(
                    "INSERT INTO properties (id, title, description, address, city, postal_code,"
                    " created_at, updated_at) SELECT gen_random_uuid(), 'T', '', '', '', '',"
                    " now(), now() FROM generate_series(1, 10000)"
                )
                cursor.execute("SELECT count(*) FROM properties WHERE address = 'nowhere'")
            return "Counted."

        monkeypatch.setattr("properties.flows.create_property", counts)
        monkeypatch.setattr(probes, "ROWS_WITHOUT_INDEX", 10_000)
        warnings = {result.flow: result.warning for result in probe_all(rollout)}
        warning = warnings.pop("properties.flows.create_property")
        assert warning == (
            "It read 10,000 rows of properties without an index: add one, or narrow the test."
        )
        assert set(warnings.values()) == {""}
        status, message = answer(rollout)
        assert status == "pass"
        assert f"properties.flows.create_property: {warning}" in message


def rollouts_count() -> int:
    from properties.transition.models import LegacyProperty

    return LegacyProperty.objects.count()
