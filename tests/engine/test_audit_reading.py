"""How an audit reads: again, in chunks, by rows; and what it says of lookup rows and mappings."""

import threading
from collections import Counter

import pytest

from rollout.engine import audit as audit_module
from rollout.engine.audit import MATCHED, AuditResult, auditor, keys_of_pair, mismatching_rows
from rollout.engine.control import Interrupted
from rollout.engine.pace import Pace
from rollout.engine.target import Connection, Target
from tests.engine.actions import NoControl, StopAfter, audit, do_until
from tests.engine.samples import BIGINT, LISTED, SAMPLES, Sample, past_triggers
from tests.engine.things import writing

PLAN = BIGINT.plan
KINDS = ("House", " house", "Flat")
MAPPING = 'rollout."sample-bigint_things_kind_mapping"'


def filled(target: Target, connection: Connection, rows: int, sample: Sample = BIGINT) -> None:
    sample.create(connection)
    for number in range(rows):
        sample.insert(connection, number, kind=KINDS[number % 3], state="Open")
    do_until(target, connection, sample.plan, "backfill")


class WritesMeanwhile(NoControl):
    """Somebody else's statement, once, after the scan and before the second look."""

    def __init__(self, target: Target, statement: str) -> None:
        super().__init__()
        self.target, self.statement = target, statement

    def raise_if_stopped(self) -> None:
        self.checks = getattr(self, "checks", 0) + 1
        if self.checks == 2:
            with self.target.connect() as connection:
                connection.execute(self.statement.encode())


class TestWritesInFlight:
    def test_a_row_that_is_right_a_moment_later_is_transient_and_no_mismatch(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 30)
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = -1, is_open = false WHERE id IN (3, 4)")
        connection.execute("UPDATE things SET is_open = false WHERE id = 5")
        control = WritesMeanwhile(
            target, "UPDATE things SET kind_id = NULL, is_open = NULL WHERE id IN (3, 5)"
        )
        result = audit(target, PLAN, control=control, recheck_after=0.1)
        assert result.transient == 2
        assert result.rows == 30
        assert {m.key for m in result.mismatches} == {"4"}
        for translation in result.translations:
            assert sum(translation.categories.values()) == 30
        assert result.categories == _recounted(result, {"4"}, 30)

    def test_a_row_that_is_gone_by_then_is_transient(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 5)
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = -1 WHERE id = 2")
        control = WritesMeanwhile(target, "DELETE FROM things WHERE id = 2")
        result = audit(target, PLAN, control=control, recheck_after=0.1)
        assert (result.transient, result.mismatched, result.rows) == (1, 0, 5)

    def test_nothing_is_read_again_when_not_every_mismatch_was_kept(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 9)
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = -1")
        control = WritesMeanwhile(target, "DELETE FROM things")
        result = audit(target, PLAN, control=control, recheck_after=0.1, store=5)
        assert (result.transient, result.mismatched) == (0, 9)


def _recounted(result: AuditResult, mismatched: set[str], rows: int) -> dict[str, int]:
    """Orphans, transient rows and the rest, whose spelling decides."""
    rest = dict(result.categories)
    assert rest.pop("orphan") == len(mismatched)
    assert rest.pop("transient") == 2
    assert sum(rest.values()) == rows - 3
    return result.categories


class TestCells:
    def test_each_cell_leads_to_as_many_rows_as_it_counts(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 30)
        connection.execute("UPDATE things SET kind = NULL WHERE id = 1")
        connection.execute("UPDATE things SET kind = 'it''s 100 %' WHERE id IN (2, 3)")
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = -1 WHERE id IN (4, 5, 6)")
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = NULL WHERE id = 7")
        result = audit(target, PLAN)
        for translation in result.translations:
            if translation.lookup_table:
                keys_of_cells = [
                    keys_of_pair(
                        *(connection, PLAN, BIGINT.table, translation.column),
                        *(cell.legacy, cell.new),
                        at_most=100,
                    )
                    for cell in translation.cells
                    if cell.category in MATCHED
                ]
                counts = [cell.rows for cell in translation.cells if cell.category in MATCHED]
                assert [len(keys) for keys in keys_of_cells] == counts
                assert len({key for keys in keys_of_cells for key in keys}) == sum(counts)
        pair = BIGINT.column("kind_id"), "House", "House"
        assert len(keys_of_pair(connection, PLAN, BIGINT.table, *pair, at_most=2)) == 2


class TestLookupRows:
    def test_the_right_row_that_is_no_longer_in_use_is_inactive(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 6)
        connection.execute("UPDATE kinds SET active = false WHERE name = 'Flat'")
        result = audit(target, PLAN)
        assert result.categories["inactive"] == 2
        assert {m.actual for m in result.mismatches} == {"Flat"}

    def test_two_rows_for_one_normal_form_are_ambiguous(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 6)
        flat = BIGINT.lookup_id(connection, "Flat")
        connection.execute(
            f"UPDATE {MAPPING} SET lookup_id = {flat} WHERE legacy = ' house'".encode()
        )
        with past_triggers(connection):
            connection.execute(f"UPDATE things SET kind_id = {flat} WHERE kind = ' house'".encode())
        assert audit(target, PLAN).categories == {"ok": 2, "ambiguous": 4}


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


class TestRows:
    @pytest.mark.parametrize("sample", SAMPLES, ids=str)
    def test_every_mismatching_row_can_be_had_however_many_there_are(
        self, sample: Sample, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 40, sample)
        sample.damage(connection, 3, kind_id=-1)
        sample.update(connection, 5, is_open=False)
        with target.connect() as own:
            mismatches = list(mismatching_rows(own, sample.plan, sample.table))
        assert Counter(m.category for m in mismatches) == {"orphan": 1, "computed_differs": 1}
        assert {tuple(m.key_parts) for m in mismatches} == {
            tuple(map(str, sample.make_key(number))) for number in (3, 5)
        }

    @pytest.mark.slow
    def test_ten_thousand_texts_without_a_mapping_are_found_by_hash(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 1)
        connection.execute("ALTER TABLE things DISABLE TRIGGER USER")
        connection.execute(
            "INSERT INTO things (id, kind) SELECT n, 'text ' || n FROM generate_series(10, 10009) n"
        )
        result = audit(target, PLAN, store=20_000)
        kinds = next(t for t in result.translations if t.column == "kind_id")
        assert kinds.categories["unmapped"] == 10_000
        assert sum(m.category == "unmapped" for m in result.mismatches) == 10_000


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


def test_another_thread_may_stop_it(target: Target, connection: Connection) -> None:
    """The second look waits, and can be interrupted meanwhile."""
    filled(target, connection, 3)
    with past_triggers(connection):
        connection.execute("UPDATE things SET kind_id = -1")
    stop = threading.Event()

    class Asked(NoControl):
        def raise_if_stopped(self) -> None:
            if stop.is_set():
                raise Interrupted("Enough.")
            stop.set()

    with pytest.raises(Interrupted):
        audit(target, PLAN, control=Asked(), recheck_after=30)
