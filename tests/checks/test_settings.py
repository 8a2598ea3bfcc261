"""Settings that would be found out at night are refused at the start."""

from typing import Any

import pytest

from rollout.checks.settings import check_settings


def ids(settings: Any, **configured: Any) -> list[str | None]:
    settings.ROLLOUT = {**settings.ROLLOUT, **configured}
    return [message.id for message in check_settings()]


def test_settings_of_this_project_pass(settings: Any) -> None:
    assert ids(settings) == []


@pytest.mark.parametrize(
    ("network", "expected"), [("10.0.0.0/8", []), ("::1", []), ("10.0.0.0/33", ["rollout.E040"])]
)
def test_invalid_metrics_network_is_e040(settings: Any, network: str, expected: list[str]) -> None:
    assert ids(settings, METRICS={"NETWORKS": [network]}) == expected


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ({"URL": "https://x.example", "SECRET": "s"}, []),
        ({"URL": "https://x.example"}, ["rollout.W042"]),
        ({"URL": "http://x.example", "SECRET": "s"}, ["rollout.E041"]),
        ({"URL": "https://x.example", "SECRET": "s", "EVENTS": ["fails"]}, ["rollout.E041"]),
        ({}, ["rollout.E041"]),
    ],
)
def test_webhooks_can_be_reached_and_say_who_sends(
    settings: Any, hook: dict[str, Any], expected: list[str]
) -> None:
    assert ids(settings, NOTIFICATIONS={"WEBHOOKS": {"chat": hook}}) == expected


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("", []),
        ("default", []),
        ("host=rehearsals.example user=rollout dbname=postgres", []),
        ("postgresql://rollout@rehearsals.example:5433/postgres", []),
        ("no-such-alias", ["rollout.E043"]),
        ("post gresql=1", ["rollout.E043"]),
    ],
)
def test_the_server_for_rehearsals_is_an_alias_or_a_connection_string(
    settings: Any, named: str, expected: list[str]
) -> None:
    assert ids(settings, REHEARSE_ON=named) == expected
    assert all(message.hint for message in check_settings())


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ({}, ["rollout.E045"]),
        ({"STORAGE": "no-such-alias"}, ["rollout.E045"]),
        ({"STORAGE": "default"}, []),
        ({"STORAGE": "snapshots"}, []),
    ],
)
def test_the_storage_of_snapshots_is_named_on_purpose(
    settings: Any, configured: dict[str, str], expected: list[str]
) -> None:
    assert ids(settings, SNAPSHOTS=configured) == expected


@pytest.mark.parametrize(("value", "expected"), [(True, []), (False, []), ("no", ["rollout.E046"])])
def test_an_environment_is_protected_or_is_not(
    settings: Any, value: Any, expected: list[str]
) -> None:
    named = {"production": {"DATABASE": "default", "PROTECTED": value}}
    assert ids(settings, ENVIRONMENTS=named) == expected


def test_a_key_that_nothing_reads_is_w047(settings: Any) -> None:
    assert ids(settings, ROW_URL={}) == ["rollout.W047"]
