"""What an audit says before its columns are there, and after they are archived."""

import pytest

from rollout.engine.audit import AuditResult
from rollout.engine.target import Connection, Target
from rollout.plan import AddForeignKey
from rollout.plan.archives import archive_name
from rollout.plan.names import in_target
from tests.engine.actions import audit, do_phase, do_until
from tests.engine.samples import BIGINT, COMPOSITE, DIRTY, ODD, Sample

PLAN = BIGINT.plan


class TestBeforeAndAfter:
    def test_nothing_is_compared_before_the_columns_are_there(
        self, target: Target, connection: Connection
    ) -> None:
        BIGINT.create(connection)
        result = audit(target, PLAN)
        assert result.inconclusive == (
            "things has no column kind_id yet. Start phases 1 and 2 first."
        )
        assert result.rows == 0

    def test_nothing_is_compared_before_there_is_a_mapping(
        self, target: Target, connection: Connection
    ) -> None:
        BIGINT.create(connection)
        do_phase(target, connection, PLAN, 1)
        assert "Start phase 2 first" in audit(target, PLAN).inconclusive

    def test_rows_that_the_backfill_has_not_reached_are_missing(
        self, target: Target, connection: Connection
    ) -> None:
        BIGINT.create(connection)
        BIGINT.insert(connection, 1, kind="House", state="open")
        do_until(target, connection, PLAN, "dual-write")
        result = audit(target, PLAN)
        assert result.categories == {"missing": 1}
        assert {m.expected for m in result.mismatches if m.column == "kind_id"} == {"House"}

    @pytest.mark.parametrize("sample", [BIGINT, COMPOSITE, ODD], ids=str)
    def test_archived_texts_are_compared_to_the_letter(
        self, sample: Sample, target: Target, connection: Connection
    ) -> None:
        before = archived(target, connection, sample)
        result = audit(target, sample.plan)
        assert (before.authority, result.authority) == ("new", "archive")
        assert result.categories == before.categories
        assert [t.cells for t in result.translations[:2]] == [
            t.cells for t in before.translations[:2]
        ]
        # Of rows that were written since, the text is their lookup row's name.
        columns = (sample.kind.column, sample.state.column, sample.is_open.column)
        same = sample.row(connection, 0, *columns)
        values = dict(zip(("kind_id", "state_id", "is_open"), same, strict=True))
        sample.insert(connection, len(DIRTY), **values)
        sample.update(connection, 1, kind_id=sample.lookup_id(connection, "マンション"))
        result = audit(target, sample.plan)
        assert (result.rows, result.mismatched) == (len(DIRTY) + 1, 0)
        pairs = {(c.legacy, c.new) for c in result.translations[0].cells}
        assert ("house", "House") not in pairs
        assert ("ho\u00a0use", "Ho use") in pairs

    def test_rows_without_a_text_after_the_archive_are_found(
        self, target: Target, connection: Connection
    ) -> None:
        archived(target, connection, BIGINT)
        connection.execute(f"ALTER TABLE things DROP CONSTRAINT {key_of(BIGINT)}".encode())
        BIGINT.update(connection, 2, state_id=987_654)
        (mismatch,) = audit(target, PLAN).mismatches
        assert (mismatch.category, mismatch.column) == ("orphan", "state_id")
        connection.execute("INSERT INTO kinds (name) VALUES ('Brand new')")
        BIGINT.update(connection, 3, kind_id=BIGINT.lookup_id(connection, "Brand new"))
        assert audit(target, PLAN).mismatched == 1

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            ("DELETE FROM {archive} WHERE id = 3", f"had {len(DIRTY)} rows and now has"),
            ("UPDATE {archive} SET kind = 'HOUSE' WHERE kind = 'House'", "or other values in them"),
            ("DROP TABLE {archive}", "Restore the archive from the snapshot"),
        ],
    )
    def test_an_archive_that_lost_anything_is_never_called_clean(
        self, damage: str, reason: str, target: Target, connection: Connection
    ) -> None:
        archived(target, connection, BIGINT)
        name = in_target(archive_name(PLAN, BIGINT.table)).as_string()
        connection.execute(damage.format(archive=name).encode())
        result = audit(target, PLAN)
        assert reason in result.inconclusive
        assert result.rows == 0


def archived(target: Target, connection: Connection, sample: Sample) -> AuditResult:
    """Rows of every spelling, carried through phase 4; the audit just before that."""
    sample.create(connection)
    for number, kind in enumerate(DIRTY):
        sample.insert(connection, number, kind=kind, state="Open")
    for number in range(4):
        do_phase(target, connection, sample.plan, number)
    before = audit(target, sample.plan)
    do_phase(target, connection, sample.plan, 4)
    return before


def key_of(sample: Sample) -> str:
    step = sample.plan.step(3, "state-key")
    assert isinstance(step, AddForeignKey)
    return step.name
