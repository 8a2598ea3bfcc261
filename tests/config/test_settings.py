"""The settings file: what it takes from the environment, and what it refuses."""

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.home import ROOT
from tests.support.processes import completed

LEAST = {"SECRET_KEY": "s", "DATABASE_URL": "postgresql:///x"}


def loaded(variables: dict[str, str]) -> dict[str, Any]:
    """What the file makes of an environment that has these variables alone."""
    with patch.dict(os.environ, variables, clear=True):
        return runpy.run_path(str(ROOT / "config" / "settings.py"))


def settings(**variables: str) -> dict[str, Any]:
    return loaded(LEAST | variables)


def refusal(**variables: str) -> str:
    with pytest.raises(ImproperlyConfigured) as refused:
        loaded(variables)
    return str(refused.value)


def default_database(url: str) -> dict[str, Any]:
    default: dict[str, Any] = settings(DATABASE_URL=url)["DATABASES"]["default"]
    return default


@pytest.mark.parametrize("missing", ["DATABASE_URL", "SECRET_KEY"])
def test_a_missing_variable_is_named_with_the_command_that_supplies_it(
    tmp_path: Path, missing: str
) -> None:
    given = {"ROLLOUT_HOME": str(tmp_path), **LEAST}
    del given[missing]
    error = refusal(**given)
    assert error.startswith(f"{missing} is not set")
    assert "make demo" in error


def test_the_shell_says_it_in_one_line(tmp_path: Path) -> None:
    done = completed(
        [sys.executable, ROOT / "manage.py", "rollout", "list"],
        env={"PATH": os.environ["PATH"], "ROLLOUT_HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "make demo" in done.stderr


def test_a_running_demo_supplies_both(tmp_path: Path) -> None:
    (tmp_path / "database-url").write_text("postgresql:///of_the_demo\n")
    (tmp_path / "secret-key").write_text("k\n")
    given = loaded({"ROLLOUT_HOME": str(tmp_path)})
    assert given["DATABASES"]["default"]["NAME"] == "of_the_demo"
    assert given["SECRET_KEY"] == "k"


def test_the_environment_comes_before_the_demo(tmp_path: Path) -> None:
    (tmp_path / "database-url").write_text("postgresql:///of_the_demo\n")
    databases = settings(ROLLOUT_HOME=str(tmp_path))["DATABASES"]
    assert "of_the_demo" not in json.dumps(databases, default=str)


def test_a_relative_home_starts_at_the_repository() -> None:
    assert settings(ROLLOUT_HOME="elsewhere")["MEDIA_ROOT"] == ROOT / "elsewhere" / "media"
    assert settings()["MEDIA_ROOT"] == ROOT / ".rollout" / "media"


def test_a_socket_address_is_understood() -> None:
    default = default_database("postgresql://postgres@/rollout?host=/Some/where%20else&port=5433")
    assert (default["HOST"], default["PORT"]) == ("/Some/where else", "5433")
    assert (default["USER"], default["NAME"]) == ("postgres", "rollout")


def test_a_tcp_address_is_understood() -> None:
    default = default_database("postgresql://me:pa%40ss@db.example:5433/x?sslmode=require")
    assert (default["HOST"], default["PORT"]) == ("db.example", "5433")
    assert (default["USER"], default["PASSWORD"]) == ("me", "pa@ss")
    options = default["OPTIONS"]
    assert (options["sslmode"], options["connect_timeout"]) == ("require", 5)
    assert options["tcp_user_timeout"] == 15_000


@pytest.mark.parametrize("url", ["sqlite:///x", "nonsense", "postgresql://h:port/x"])
def test_an_address_that_is_no_postgresql_is_refused(url: str) -> None:
    assert refusal(SECRET_KEY="s", DATABASE_URL=url).startswith("DATABASE_URL")


def test_debug_is_off_unless_asked_for() -> None:
    assert settings()["DEBUG"] is False
    assert settings(DEBUG="1")["DEBUG"] is True


def test_the_queue_never_repeats_work_by_itself() -> None:
    queue = settings()["Q_CLUSTER"]
    assert queue["retry"] > queue["timeout"]
    assert queue["ack_failures"] is True
    assert queue["orm"] == "default"
    assert "redis" not in queue


def test_one_setting_moves_the_queue_to_redis() -> None:
    queue = settings(ROLLOUT_REDIS_URL="redis://127.0.0.1:6379/0")["Q_CLUSTER"]
    assert queue["redis"] == "redis://127.0.0.1:6379/0"
    assert "orm" not in queue


def test_a_number_of_workers_that_is_none_is_refused() -> None:
    assert "ROLLOUT_WORKERS must be an integer" in refusal(**LEAST, ROLLOUT_WORKERS="two")


def test_webhooks_come_as_json_and_what_is_none_is_refused_without_showing_it() -> None:
    rollout = settings(ROLLOUT_WEBHOOKS='{"chat": {"URL": "https://x"}}')["ROLLOUT"]
    assert rollout["NOTIFICATIONS"]["WEBHOOKS"] == {"chat": {"URL": "https://x"}}
    for bad in ("{'very-secret'", '["very-secret"]', '{"chat": "very-secret"}'):
        error = refusal(**LEAST, ROLLOUT_WEBHOOKS=bad)
        assert "ROLLOUT_WEBHOOKS must be a JSON object" in error
        assert "very-secret" not in error


IN_PRODUCTION = {
    "SECRET_KEY": "".join(chr(33 + n) for n in range(60)),
    "DATABASE_URL": "postgresql://rollout:nobody-guesses-this@db.example/rollout",
    "ALLOWED_HOSTS": "rollout.example",
    "HTTPS": "1",
}


@pytest.mark.slow
def test_the_check_for_production_finds_nothing(tmp_path: Path) -> None:
    done = completed(
        [sys.executable, ROOT / "manage.py", "check", "--deploy", "--fail-level", "DEBUG"],
        env={"PATH": os.environ["PATH"], "ROLLOUT_HOME": str(tmp_path), **IN_PRODUCTION},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "no issues" in done.stdout


def test_behind_tls_cookies_are_secure_and_browsers_are_told_to_stay_there() -> None:
    secure = settings(**IN_PRODUCTION)
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT")
    assert all(secure[name] is True for name in (*names, "SESSION_COOKIE_HTTPONLY"))
    assert secure["SECURE_HSTS_SECONDS"] == 365 * 24 * 3600
    assert not any(settings()[name] for name in names)


@pytest.mark.parametrize(
    ("weak", "reason"),
    [
        ({"SECRET_KEY": "short"}, "SECRET_KEY is too weak"),
        ({"SECRET_KEY": "ab" * 40}, "SECRET_KEY is too weak"),
        ({"SECRET_KEY": "django-insecure-" + "".join(map(chr, range(48, 98)))}, "is too weak"),
        ({"ALLOWED_HOSTS": "rollout.example,*"}, "ALLOWED_HOSTS allows any host"),
        ({"DATABASE_URL": "postgresql://me:postgres@db.example/x"}, "uses a common password"),
        ({"DATABASE_URL": "postgresql://me:me@db.example/x"}, "uses a common password"),
        ({"HTTPS": "", "SECRET_KEY": "short"}, "SECRET_KEY is too weak"),
    ],
)
def test_a_site_that_others_reach_does_not_start_with_what_can_be_guessed(
    weak: dict[str, str], reason: str
) -> None:
    error = refusal(**(IN_PRODUCTION | weak))
    assert reason in error
    assert weak.get("SECRET_KEY", "postgres") not in error
