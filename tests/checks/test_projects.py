"""What the project lacks is reported when it starts, with the line that puts it right."""

from typing import Any

import pytest
from django.db import connections

from rollout.checks.projects import check_project


def ids() -> set[str | None]:
    return {problem.id for problem in check_project()}


def test_the_site_here_lacks_nothing() -> None:
    assert check_project() == []


@pytest.mark.parametrize(
    ("environments", "what"),
    [
        ({"production": "nowhere"}, "which is not in DATABASES"),
        ({"staging": {"DATABASE": "nowhere"}}, "which is not in DATABASES"),
    ],
)
def test_an_environment_without_a_database_is_e061(
    settings: Any, environments: dict[str, Any], what: str
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": environments}
    (problem,) = check_project()
    assert problem.id == "rollout.E061"
    assert what in str(problem.msg)


def test_databases_that_are_no_postgresql_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")
    assert ids() == {"rollout.E060", "rollout.E066"}


def test_a_journal_apart_from_the_users_is_e065(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout import journal

    monkeypatch.setattr(journal, "alias", lambda: "other")
    monkeypatch.setitem(connections.settings, "other", connections.settings["default"])
    assert ids() == {"rollout.E065"}


def test_missing_middleware_is_w062(settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "htmx" not in name]
    (problem,) = check_project()
    assert (problem.id, problem.hint) == ("rollout.W062", "Add it to MIDDLEWARE.")
    settings.TEMPLATES = []
    assert len(check_project()) == 4


@pytest.mark.parametrize(
    ("queue", "problem_id"),
    [
        ({}, "rollout.E063"),
        ({"orm": "default"}, "rollout.W064"),
        ({"retry": 60}, "rollout.W064"),
        ({"timeout": 60}, "rollout.W064"),
        ({"ack_failures": False}, "rollout.W064"),
    ],
)
def test_a_queue_that_would_repeat_or_lose_work_is_reported(
    settings: Any, queue: dict[str, Any], problem_id: str
) -> None:
    whole = queue if len(queue) == 0 or "orm" in queue else {**settings.Q_CLUSTER, **queue}
    settings.Q_CLUSTER = whole
    (problem,) = check_project()
    assert problem.id == problem_id
    assert "Q_CLUSTER" in str(problem.msg)
