"""The server of a plan: rights, the way to it, its disk."""

import tempfile
from pathlib import Path

import pytest

from rollout.engine.preflight import server as server_questions
from rollout.engine.target import Connection, Target
from tests.engine.pooler import transaction_pooler
from tests.engine.preflight.runs import done_until, item, lower_role, run


def test_a_role_that_owns_nothing_may_not_start(target: Target, connection: Connection) -> None:
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with lower_role(target, connection) as lower:
        finding = item(run(lower), "rights")
        role = lower.parameters["user"]
    assert finding.level == "blocks"
    assert f"{role} does not own public.things; postgres does" in finding.evidence
    assert f"{role} lacks CREATE on schema public" in finding.evidence


def test_a_direct_connection_is_distinguished_from_one_by_way_of_a_pooler(target: Target) -> None:
    assert item(run(target), "direct connection").level == "pass"
    # A socket's path has room for no long name.
    with (
        tempfile.TemporaryDirectory(prefix="pooler-") as directory,
        transaction_pooler(target, Path(directory)) as pooled,
    ):
        finding = item(run(pooled), "direct connection")
    assert finding.level == "blocks"
    assert finding.evidence.startswith("Connected through a transaction-mode pooler")


class TestTheDisk:
    def test_the_disk_is_seen_over_a_socket_of_this_machine(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 2)
        finding = item(run(target, 2), "free disk")
        assert finding.level == "pass"
        assert " free." in finding.evidence

    def test_a_disk_without_enough_room_keeps_the_phase_from_starting(
        self, target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done_until(target, connection, 2)
        monkeypatch.setattr(server_questions, "SPARE_FACTOR", 1e12)
        assert item(run(target, 2), "free disk").level == "blocks"

    def test_the_disk_of_another_machine_is_left_to_its_operators(
        self, target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done_until(target, connection, 2)
        connection.execute("SELECT 1")
        monkeypatch.setattr("os.statvfs", _refused)
        finding = item(run(target, 2), "free disk")
        assert finding.level == "info"
        assert "free space is not visible from here" in finding.evidence


def _refused(path: object) -> None:
    raise PermissionError
