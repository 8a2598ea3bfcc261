"""How an audit runs: in chunks of one snapshot, of one table, until it is stopped."""

import pytest

from rollout.engine import audit as audit_module
from rollout.engine.audit import auditor
from rollout.engine.control import Interrupted
from rollout.engine.pace import Pace
from rollout.engine.target import Connection, Target
from tests.engine.actions import StopAfter, audit, do_until
from tests.engine.audit.filled_tables import filled
from tests.engine.samples import BIGINT, LISTED, Sample, past_triggers
from tests.engine.things import writing

PLAN = BIGINT.plan


class TestChunks:
    @pytest.mark.parametrize("sample", [BIGINT, LISTED], ids=str)
    def test_a_large_table_is_read_in_chunks_with_the_same_result(
        self,
        sample: Sample,
        target: Target,
        connection: Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        filled(target, connection, 200, sample)
        sample.damage(connection, 7, kind_id=-1)
        whole = audit(target, sample.plan)
        monkeypatch.setattr(auditor, "CHUNKED_FROM_BLOCKS", 0)
        monkeypatch.setattr(auditor, "FIRST_CHUNK_BLOCKS", 1)
        progress: list[tuple[int, int]] = []
        chunked = audit(
            target, sample.plan, pace=Pace(), progress=lambda *place: progress.append(place)
        )
        assert chunked.categories == whole.categories
        assert chunked.translations == whole.translations
        assert chunked.mismatches == whole.mismatches
        assert len(progress) > 1
        assert progress[-1][0] == progress[-1][1]

    def test_chunks_are_of_one_snapshot_while_writers_run(
        self, target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        filled(target, connection, 500)
        monkeypatch.setattr(auditor, "CHUNKED_FROM_BLOCKS", 0)
        monkeypatch.setattr(auditor, "FIRST_CHUNK_BLOCKS", 1)
        moves = "UPDATE things SET note = repeat('w', 600) WHERE id = %(n)s %% 500"
        with writing(target, moves, "UPDATE things SET note = '' WHERE id = %(n)s %% 500"):
            for _ in range(5):
                assert audit(target, PLAN).rows == 500

    def test_an_audit_stops_between_two_chunks_on_request(
        self, target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        filled(target, connection, 500)
        monkeypatch.setattr(auditor, "CHUNKED_FROM_BLOCKS", 0)
        monkeypatch.setattr(auditor, "FIRST_CHUNK_BLOCKS", 1)
        with pytest.raises(Interrupted):
            audit(target, PLAN, control=StopAfter(1))


def test_a_report_says_what_it_was_made_with(target: Target, connection: Connection) -> None:
    filled(target, connection, 3)
    first, second = audit(target, PLAN), audit(target, PLAN)
    assert (first.sql_digest, first.mapping_digest) == (second.sql_digest, second.mapping_digest)
    assert " at " in first.snapshot
    connection.execute("UPDATE kinds SET name = 'Flats' WHERE name = 'Flat'")
    changed = audit(target, PLAN)
    assert changed.mapping_digest != first.mapping_digest
    assert changed.sql_digest == first.sql_digest


def test_one_table_alone_can_be_audited(target: Target, connection: Connection) -> None:
    filled(target, connection, 3)
    assert audit(target, PLAN, tables=["things"]).rows == 3
    assert "no such table" in audit(target, PLAN, tables=["nothing"]).inconclusive


def test_an_audit_works_inside_a_transaction_of_the_caller(
    target: Target, connection: Connection
) -> None:
    filled(target, connection, 3)
    with target.connect() as own, own.transaction(force_rollback=True):
        with past_triggers(own):
            own.execute("UPDATE things SET kind_id = -1 WHERE id = 1")
        result = audit_module.run_audit(own, PLAN)
    assert result.categories["orphan"] == 1


def test_the_categories_add_up_to_the_rows_of_one_snapshot_while_writers_run(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    connection.execute("INSERT INTO things (id, kind) SELECT n, 'k' FROM generate_series(1, 500) n")
    do_until(target, connection, PLAN, "backfill")
    with writing(
        target,
        "BEGIN",
        "INSERT INTO things (id, kind) SELECT 1000 + 10 * %(n)s + i, 'new ' || %(n)s "
        "FROM generate_series(1, 7) AS i",
        "DELETE FROM things WHERE id IN (SELECT id FROM things ORDER BY id LIMIT 4)",
        "INSERT INTO things (id, kind) SELECT - 10 * %(n)s - i, 'old' "
        "FROM generate_series(1, 4) AS i",
        "COMMIT",
    ) as rounds:
        for _ in range(10):
            before = rounds[0]
            result = audit(target, PLAN)
            assert (result.mismatched, result.mismatches) == (0, [])
            # Every transaction of the writer adds seven rows, so other sums tell of a torn read.
            assert (result.rows - 500) % 7 == 0
            assert 500 + 7 * before <= result.rows
            for translation in result.translations:
                assert sum(translation.categories.values()) == result.rows


def test_an_audit_writes_nothing_even_where_it_could(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    do_until(target, connection, PLAN, "map-values")
    with target.connect() as mine:
        audit_module.run_audit(mine, PLAN)
        assert mine.read_only
