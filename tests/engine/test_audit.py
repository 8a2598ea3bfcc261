"""The audit against a plain model of its categories, beside writers, and before and after."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from rollout.engine import audit as audit_module
from rollout.engine.audit import CATEGORIES, MISMATCHED, AuditResult
from rollout.engine.target import Connection, Target
from rollout.plan import AddForeignKey
from rollout.plan.archives import archive_name
from rollout.plan.names import MAX_LOOKUP_CHARACTERS, in_target, normal
from rollout.plan.transition import fill as fill_of
from tests.engine.actions import audit, do_phase, do_step, do_until, run_fill
from tests.engine.samples import BIGINT, COMPOSITE, DIRTY, ODD, SAMPLES, Sample, past_triggers
from tests.engine.things import writing
from tests.support.bare_databases import clear

PLAN = BIGINT.plan
KIND_MAPPING = 'rollout."sample-bigint_things_kind_mapping"'

TEXTS = (
    st.none()
    | st.sampled_from([*DIRTY, "x" * 10_000, "y" * 201, "it's", '"', "house\u00a0"])
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
)
DAMAGES = st.sampled_from(
    ["none", "none", "clear", "other", "orphan", "wrong derived", "no derived", "unexpected time"]
)


@dataclass
class Row:
    """A row as it stands, and what the model says of each of its translations."""

    kind: str | None
    state: str | None
    damage: str
    kind_id: int | None = None
    state_id: int | None = None
    is_open: bool | None = None
    opened_at: datetime | None = None
    categories: dict[str, str] = field(default_factory=dict)


class Model:
    """What an audit must say, worked out row by row in plain Python from the stated rules."""

    def __init__(self, connection: Connection, forgotten: dict[str, str]) -> None:
        self.connection = connection
        self.forgotten = forgotten
        self.kinds: dict[int, str] = dict(
            connection.execute("SELECT id, name FROM kinds").fetchall()
        )
        self.states: dict[int, str] = dict(
            connection.execute("SELECT id, name FROM states").fetchall()
        )

    def normal(self, text: str) -> str:
        """The database's word for it: its rules of case and white space are the ones in force."""
        row = self.connection.execute(
            sql.SQL("SELECT {}").format(normal(sql.Literal(text)))
        ).fetchone()
        assert row is not None
        return str(row[0])

    def classify(self, row: Row) -> dict[str, str]:
        return {
            "kind_id": self._lookup("kind", row.kind, row.kind_id, self.kinds, "Unspecified"),
            "state_id": self._lookup("state", row.state, row.state_id, self.states, None),
            "is_open": self._derived(row.is_open, self._open(row)),
            "opened_at": self._derived(row.opened_at, MADE if self._open(row) else None),
        }

    def _open(self, row: Row) -> bool:
        return (row.state or "").strip(" ").lower() == "open"

    def _lookup(
        self, what: str, text: str | None, new: int | None, rows: dict[int, str], blank: str | None
    ) -> str:
        if new is not None and new not in rows:
            return "orphan"
        exact = text or ""
        if self.forgotten.get(what) == exact:
            return "unmapped"
        form = self.normal(exact)
        if form == "" and blank is None:
            return "both_null" if new is None else "unexpected"
        named = form or self.normal(blank or "")
        expected = next((id_ for id_, name in rows.items() if self.normal(name) == named), None)
        if expected is None or len(form) > MAX_LOOKUP_CHARACTERS:
            return "unmapped"
        if new is None:
            return "missing"
        if new != expected:
            return "wrong"
        if rows[new] == exact:
            return "ok"
        return "ok_normalized" if self.normal(rows[new]) == form else "ok_mapped"

    @staticmethod
    def _derived(new: Any, expected: Any) -> str:
        if new == expected:
            return "both_null" if new is None else "ok"
        if new is None:
            return "missing"
        return "unexpected" if expected is None else "computed_differs"


MADE = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def mapped_table(target: Target, module_connection: Connection) -> Connection:
    """An empty table at the end of phase 1, with no trigger on it."""
    clear(module_connection)
    BIGINT.create(module_connection)
    do_until(target, module_connection, PLAN, "map-values")
    return module_connection


def damage(row: Row, model: Model) -> None:
    match row.damage:
        case "clear":
            row.kind_id = row.state_id = None
        case "other":
            others = [id_ for id_ in model.kinds if id_ != row.kind_id]
            row.kind_id = others[0] if others else None
            row.state_id = next((id_ for id_ in model.states if id_ != row.state_id), None)
        case "orphan":
            row.kind_id = 987_654
        case "wrong derived":
            row.is_open = not row.is_open
        case "no derived":
            row.is_open = row.opened_at = None
        case "unexpected time":
            row.opened_at = datetime(2000, 1, 1, tzinfo=UTC)


@settings(max_examples=40)
@given(
    rows=st.lists(st.builds(Row, TEXTS, TEXTS, DAMAGES), max_size=10),
    forget=st.sets(st.sampled_from(["kind", "state"])),
)
def test_every_mix_of_values_and_damages_is_categorised_as_a_plain_model_does(
    mapped_table: Connection, target: Target, rows: list[Row], forget: set[str]
) -> None:
    connection = mapped_table
    connection.execute(f"TRUNCATE things, kinds, states, {KIND_MAPPING}")
    connection.execute('TRUNCATE rollout."sample-bigint_things_state_mapping"')
    for number, row in enumerate(rows):
        BIGINT.insert(connection, number, kind=row.kind, state=row.state)
    do_step(target, connection, PLAN, 2, PLAN.step(2, "map-values"))
    run_fill(connection, fill_of(PLAN, BIGINT.table))
    forgotten = {what: getattr(rows[0], what) or "" for what in forget if rows}
    for what, text in forgotten.items():
        mapping = in_target(getattr(BIGINT, what).mapping_name(PLAN.name))
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE legacy = {}").format(mapping, sql.Literal(text))
        )
    model = Model(connection, forgotten)
    columns = ("kind_id", "state_id", "is_open", "opened_at")
    for number, row in enumerate(rows):
        row.kind_id, row.state_id, row.is_open, row.opened_at = BIGINT.row(
            connection, number, *columns
        )
        damage(row, model)
        BIGINT.update(connection, number, **{name: getattr(row, name) for name in columns})
        row.categories = model.classify(row)

    result = audit(target, PLAN)

    assert result.categories == Counter(
        max(row.categories.values(), key=CATEGORIES.index) for row in rows
    )
    for translation in result.translations:
        assert translation.categories == Counter(row.categories[translation.column] for row in rows)
    assert {(m.key, m.column, m.category, m.table) for m in result.mismatches} == {
        (str(number), column, category, "things")
        for number, row in enumerate(rows)
        for column, category in row.categories.items()
        if category in MISMATCHED
    }
    assert result.rows == len(rows)
    assert result.matched + result.mismatched == len(rows)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_mismatching_row_is_found_by_its_key_with_what_was_expected_and_what_is(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    for number in range(10):
        sample.insert(connection, number, kind=" house", state="Open")
    sample.insert(connection, 10, kind="Flat", state="Sold")
    do_until(target, connection, sample.plan, "backfill")
    flat = sample.lookup_id(connection, "Flat")
    sample.damage(connection, 3, kind_id=flat, is_open=False)
    result = audit(target, sample.plan)
    mismatches = {m.column: m for m in result.mismatches}
    assert set(mismatches) == {sample.kind.column, sample.is_open.column}
    wrong = mismatches[sample.kind.column]
    assert wrong.key == ",".join(map(str, sample.make_key(3)))
    assert (wrong.table, wrong.category) == (sample.table.label, "wrong")
    assert (wrong.legacy, wrong.expected, wrong.actual) == (" house", "house", "Flat")
    derived = mismatches[sample.is_open.column]
    assert (derived.legacy, derived.expected, derived.actual) == ("Open", "true", "false")
    assert (result.rows, result.mismatched) == (11, 1)


def test_a_row_without_its_lookup_row_says_which_number_it_has(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House")
    do_until(target, connection, PLAN, "backfill")
    with past_triggers(connection):
        connection.execute("UPDATE things SET kind_id = 4711")
    (mismatch,) = audit(target, PLAN).mismatches
    assert (mismatch.category, mismatch.actual) == ("orphan", "#4711 (no such row)")
    assert mismatch.expected == "House"


def test_the_crosstab_counts_each_pair_worst_and_commonest_first(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    for number, kind in enumerate(["House", "House", "house", None, "Flat"]):
        BIGINT.insert(connection, number, kind=kind)
    do_until(target, connection, PLAN, "backfill")
    BIGINT.damage(connection, 4, kind_id=BIGINT.lookup_id(connection, "House"))
    crosstab = audit(target, PLAN).translations[0]
    assert [(c.legacy, c.new, c.category, c.rows) for c in crosstab.cells] == [
        ("Flat", "House", "wrong", 1),
        (None, "Unspecified", "ok_mapped", 1),
        ("house", "House", "ok_normalized", 1),
        ("House", "House", "ok", 2),
    ]
    assert (crosstab.legacy_column, crosstab.lookup_table) == ("kind", "kinds")


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


def test_no_more_mismatches_are_listed_than_there_is_room_for_but_all_are_counted(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    connection.execute("INSERT INTO things (id, kind) SELECT n, 'k' FROM generate_series(1, 20) n")
    do_until(target, connection, PLAN, "map-values")
    result = audit(target, PLAN, store=15)
    assert len(result.mismatches) == 15
    assert (result.mismatched, result.rows) == (20, 20)


def test_an_audit_writes_nothing_even_where_it_could(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    do_until(target, connection, PLAN, "map-values")
    with target.connect() as mine:
        audit_module.run_audit(mine, PLAN)
        assert mine.read_only


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
        assert (before.direction, result.direction) == ("reverse", "archive")
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
