"""No verb of the shell ends in a traceback where an environment is gone or cannot be reached; what
happens by itself continues for the others."""

import argparse
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from prometheus_client import exposition

from rollout.health import collector
from rollout.management.commands.rollout import Command
from rollout.models import DatabaseReading, Rollout
from rollout.watchdog.database_statistics import DatabaseReader
from rollout.watchdog.loop import Watchdog
from rollout.worker import leases, runs
from tests.console import journal
from tests.console.http.closed_environments import dropped as dropped_state
from tests.console.http.closed_environments import (
    forget_the_database,
    port_of,
    refusing,
    unreachable,
)
from tests.support import rollouts
from tests.support.rollouts import PLAN, Cli
from tests.support.servers import Database

OF_NO_ENVIRONMENT = {"list", "who", "verify-log", "watchdog"}
BESIDES: dict[str, list[str]] = {
    **{key: ["1"] for key in ("sql", "recognise", "start", "rollback", "preflight", "verify")},
    "ask-approval": ["3"],
    "approve": ["3", "--digest", "0" * 12, "--user", "lead"],
    "withdraw": ["3", "--user", "lead"],
    "override": ["1", "no drift", "--reason", "Because it is so.", "--user", "lead"],
    "confirm": ["1", "no drift", "--user", "lead"],
    "schedule": ["1", "2030-01-01 10:00", "--user", "lead"],
    "tick": ["rollback-scripts", "--user", "lead"],
    "restore": ["1"],
    "adopt": ["--phase", "4"],
}
"""What a verb wants to be told besides the plan."""


def verbs() -> list[str]:
    parser = Command().create_parser("manage.py", "rollout")
    (choices,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return sorted(set(choices.choices) - OF_NO_ENVIRONMENT)


@pytest.fixture
def away(committed_db: Database, settings: LazySettings) -> Iterator[Rollout]:
    """An environment whose server refuses connections, beside one that is well."""
    rollouts.the_rollout()
    with port_of(refusing) as (port, _bound):
        yield unreachable(settings, port).rollout
    forget_the_database()


@pytest.fixture
def dropped(committed_db: Database) -> Rollout:
    return dropped_state(rollouts.the_rollout()).rollout


OF_NO_PLAN = {"scaffold": ["properties", "properties", "type", "--print"], "keys": []}


def ended_badly(cli: Cli, environment: str, says: str) -> list[Any]:
    """The verbs that did not say it; a parser that wants more ends with 2 as well."""
    journal.browser_of("lead")
    wrong = []
    for verb in verbs():
        named = OF_NO_PLAN.get(verb, [PLAN, *BESIDES.get(verb, [])])
        code, out, err = cli(verb, *named, "--env", environment)
        if "usage:" in err or "Traceback" in err or (code and not (out + err).strip()):
            wrong.append((verb, code, err))
        elif says not in out + err:
            wrong.append((verb, code, out + err))
    return wrong


def test_every_verb_says_that_an_environment_is_gone(dropped: Rollout, cli: Cli) -> None:
    assert not ended_badly(cli, dropped.environment, "was dropped")


def test_list_and_introspect_continue_with_the_environments_that_answer(
    away: Rollout, cli: Cli
) -> None:
    code, out, err = cli("list")
    assert (code, err) == (0, "")
    assert "production" in out
    assert "qa" in out
    code, out, _err = cli("introspect", "--json")
    assert code == 2
    by_environment = {result["environment"]: result for result in json.loads(out)}
    assert by_environment["production"]["tables"]
    assert "Cannot connect to database" in by_environment["qa"]["error"]
    code, out, _err = cli("show", PLAN, "--env", "qa")
    assert code == 0
    assert "the application's read and write modes are unknown" in out


def test_a_dead_environment_keeps_the_watchdog_from_no_other(
    away: Rollout, caplog: pytest.LogCaptureFixture
) -> None:
    reader = DatabaseReader()
    reader.read_all()
    reader.read_all()
    read = DatabaseReading.objects.values_list("rollout__environment", flat=True)
    assert list(read) == ["production", "production"]
    assert len([r for r in caplog.records if "was not read" in r.getMessage()]) == 1
    Watchdog().look()


def test_a_run_of_an_environment_that_is_gone_fails_and_is_not_brought_back_for_ever(
    dropped: Rollout,
) -> None:
    run = journal.ran(dropped, 2, "running", lease_until=leases.grace())
    runs.RunJob.carry_out(run.pk, run.token)
    run.refresh_from_db()
    assert run.state == "failed"
    assert "was dropped" in run.error
    assert run.advice == (
        "The database no longer exists: no further step is possible. "
        "Runbook: An environment, or a plan, is missing."
    )


def test_the_figures_of_the_others_are_reported(away: Rollout) -> None:
    text = exposition.generate_latest(collector.registry()).decode()
    assert 'rollout_target_up{environment="production"} 1.0' in text
    assert 'rollout_target_up{environment="qa"} 0.0' in text
    assert Client().get("/readyz").json()["checks"]["database"]["ok"] is True


def test_readiness_names_a_schema_that_was_dropped(filled: Rollout) -> None:
    with rollouts.target() as connection:
        connection.execute("DROP SCHEMA rollout CASCADE")
    check = Client().get("/readyz").json()["checks"]["engine"]
    assert check["ok"] is True, "a balancer is not to take every application away"
    assert check["message"].startswith("Drift: the engine's schema “rollout” is missing")
