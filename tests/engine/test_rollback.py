"""The way back: what nobody wrote is what it was, byte for byte, and that is proved."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from rollout.engine import quarantine
from rollout.engine.mapping import CannotDecide
from rollout.engine.repair import RepairPlan, Selection
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Fill
from rollout.plan.names import in_target
from rollout.plan.resolvers import resolver_name
from rollout.plan.value_proofs import texts_mean_their_rows
from tests.engine.actions import act, do_phase, new_job, prove, undo_phase, work_off
from tests.engine.rollbacks import (
    KINDS,
    PLAN,
    Rows,
    carried_over,
    decided,
    differing,
    proofs,
    rows_of,
    way_back,
)
from tests.engine.samples import BIGINT, SAMPLES, Sample
from tests.support.bare_databases import clear


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_the_last_phase_s_rollback_changes_no_row_though_its_text_means_another_one_by_now(
    sample: Sample, target: Target, connection: Connection
) -> None:
    carried_over(target, connection, sample)
    before = rows_of(connection, sample)
    do_phase(target, connection, sample.plan, 4)
    undo_phase(target, connection, sample.plan, 4)
    assert rows_of(connection, sample) == before


def name_of_row(connection: Connection, text: str) -> str:
    """The name of the lookup row of the rows that have a text."""
    row = connection.execute(
        "SELECT k.name FROM kinds AS k JOIN things AS t ON t.kind_id = k.id WHERE t.kind = %s",
        [text],
    ).fetchone()
    assert row is not None
    return str(row[0])


def follow(target: Target, connection: Connection) -> None:
    """Have the rows follow what people decided, as the repair after a review does."""
    repairing = RepairPlan(PLAN, BIGINT.table, Selection.of({}), direction="forward")
    for action in repairing.passes:
        act(target, connection, PLAN, 3, action)


def test_each_rollback_leaves_every_row_as_its_phase_found_it(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    for number, kind in enumerate(KINDS):
        BIGINT.insert(connection, number, kind=kind, state="open")
    states = []
    for number in range(5):
        states.append(rows_of(connection))
        if number == 4:
            decided(connection, "h", "House")
        do_phase(target, connection, PLAN, number)
    for number in reversed(range(5)):
        if number == 3:
            # What was decided and never followed would fail the proof of this rollback.
            decided(connection, "h", name_of_row(connection, "h"))
        undo_phase(target, connection, PLAN, number)
        assert rows_of(connection) == states[number], f"after the rollback of phase {number}"


def test_a_write_during_the_restore_of_texts_says_no_more_than_its_row(
    target: Target, connection: Connection, app: Connection
) -> None:
    """So that no later round of the pass takes it for something that it has to repair."""
    carried_over(target, connection)
    do_phase(target, connection, PLAN, 4)
    actions = way_back()
    restore = next(n for n, action in enumerate(actions) if isinstance(action, Fill))
    for action in actions[:restore]:
        act(target, connection, PLAN, 4, action)
    with pytest.raises(psycopg.errors.RaiseException, match="is being removed: write kind_id"):
        BIGINT.update(app, 0, kind="Castle")
    castle = BIGINT.lookup_id(app, "Castle")
    BIGINT.update(app, 1, kind_id=castle)
    BIGINT.insert(app, 50, kind_id=castle, kind="CASTLE", is_open=False)
    for action in actions[restore:]:
        act(target, connection, PLAN, 4, action)
    BIGINT.update(app, 2, kind_id=castle)
    prove(connection, proofs()[-1])
    texts = BIGINT.texts(connection)
    assert [texts[number,][0] for number in (0, 1, 2, 50)] == ["House", *["Castle"] * 3]


class TestAPassThatChangesMoreThanItMay:
    """A trigger of the application's own has the last word about what is written."""

    MEDDLES = """
        CREATE FUNCTION meddle () RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
          IF new.id IN (3, 4) THEN new.{column} := {value}; END IF; RETURN new;
        END$$;
        CREATE TRIGGER zz_meddle BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION meddle ();
        """

    @pytest.mark.parametrize(
        ("column", "value"),
        [("kind_id", "1"), ("is_open", "NOT old.is_open"), ("opened_at", "NULL")],
    )
    def test_texts_are_not_brought_back_at_the_price_of_another_column(
        self, column: str, value: str, target: Target, connection: Connection
    ) -> None:
        carried_over(target, connection)
        before = rows_of(connection)
        do_phase(target, connection, PLAN, 4)
        connection.execute(self.MEDDLES.format(column=column, value=value).encode())
        actions = way_back()
        place = next(n for n, action in enumerate(actions) if isinstance(action, Fill))
        for action in actions[:place]:
            act(target, connection, PLAN, 4, action)
        restore = actions[place]
        assert isinstance(restore, Fill)
        job, stripes = new_job(connection, restore)
        work_off(connection, restore, job, stripes)
        refused = {row.key: row.error for row in quarantine.rows(connection, job)}
        assert list(refused) == [("3",), ("4",)]
        assert "a trigger of the table changes them" in refused["3",]
        now = rows_of(connection)
        assert {key for key in before if now[key] != before[key]} == {"{3}", "{4}"}
        assert all(now[key][column] == before[key][column] for key in before)
        connection.execute("DROP TRIGGER zz_meddle ON things")
        act(target, connection, PLAN, 4, restore)
        assert rows_of(connection) == before

    def test_columns_are_not_emptied_at_the_price_of_a_legacy_text(
        self, target: Target, connection: Connection
    ) -> None:
        carried_over(target, connection)
        follow(target, connection)
        undo_phase(target, connection, PLAN, 3)
        before = BIGINT.texts(connection)
        connection.execute(self.MEDDLES.format(column="kind", value="'meddled'").encode())
        *_, clearing = PLAN.backward(PLAN.step(2, "dual-write")).actions
        assert isinstance(clearing, Fill)
        for action in PLAN.backward(PLAN.step(2, "dual-write")).actions[:-1]:
            act(target, connection, PLAN, 2, action)
        job, stripes = new_job(connection, clearing)
        work_off(connection, clearing, job, stripes)
        assert [row.key for row in quarantine.rows(connection, job)] == [("3",), ("4",)]
        assert BIGINT.texts(connection) == before


TEXT = st.sampled_from([*KINDS, "Castle", "HOUSE", "castle ", "Flat"])
NAME = st.sampled_from(["House", "Flat", "Castle", "h", "Unspecified"])
NUMBER = st.integers(0, len(KINDS) + 1)
DECISIONS = st.lists(st.tuples(st.sampled_from(["h", "apt", "flat", "castle"]), NAME), max_size=4)
WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("text"), NUMBER, TEXT),
        st.tuples(st.just("row"), NUMBER, NAME),
        st.tuples(st.just("insert"), NUMBER, NAME),
        st.tuples(st.just("delete"), NUMBER, NAME),
        st.tuples(st.just("other"), NUMBER, NAME),
    ),
    max_size=8,
)


@dataclass
class Application:
    """Writes rows of the sample by people's values; no text if none is left."""

    connection: Connection
    texts: bool = True
    inserted: int = 100

    def carry_out(self, writes: list[tuple[str, int, str | None]]) -> None:
        for kind, number, value in writes:
            getattr(self, f"_{kind}")(number, value)

    def _id(self, name: str) -> int:
        """Of the lookup row of a name, whatever its case."""
        self.connection.execute(
            "INSERT INTO kinds (name) VALUES (%s) ON CONFLICT DO NOTHING", [name]
        )
        row = self.connection.execute(
            "SELECT id FROM kinds WHERE lower(name) = lower(%s)", [name]
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _text(self, number: int, value: str | None) -> None:
        if self.texts:
            BIGINT.update(self.connection, number, kind=value)

    def _row(self, number: int, value: str) -> None:
        BIGINT.update(self.connection, number, kind_id=self._id(value))

    def _insert(self, number: int, value: str) -> None:
        self.inserted += 1
        row = {"kind_id": self._id(value), "is_open": False}
        BIGINT.insert(self.connection, self.inserted, **row)

    def _delete(self, number: int, value: str) -> None:
        BIGINT.delete(self.connection, number)

    def _other(self, number: int, value: str) -> None:
        BIGINT.update(self.connection, number, note=value)


def meant_by(connection: Connection, text: str | None) -> int | None:
    """The id of the lookup row that a text means, as its writer learns it."""
    row = connection.execute(
        sql.SQL("SELECT {} (%s, false)").format(in_target(resolver_name(BIGINT.kind, PLAN.name))),
        [text],
    ).fetchone()
    assert row is not None
    meant: int | None = row[0]
    return meant


def in_words(connection: Connection) -> set[int]:
    """The lookup rows that a text means: not those whose name people decided away."""
    rows = connection.execute(
        sql.SQL(
            "SELECT l.id FROM {lookup} AS l WHERE {resolver} (l.name, false) = l.id"
            " UNION SELECT m.lookup_id FROM {mapping} AS m WHERE m.lookup_id IS NOT NULL"
        ).format(
            lookup=BIGINT.kind.lookup_sql,
            resolver=in_target(resolver_name(BIGINT.kind, PLAN.name)),
            mapping=in_target(BIGINT.kind.mapping_name(PLAN.name)),
        )
    ).fetchall()
    return {id_ for (id_,) in rows}


def legacy(rows: Rows) -> dict[str, tuple[Any, ...]]:
    return {key: (row["id"], row["kind"], row["state"]) for key, row in rows.items()}


@settings(max_examples=8)
@given(before=DECISIONS, during=WRITES, decisions=DECISIONS, between=WRITES, after=WRITES)
def test_whatever_is_decided_and_written_each_text_of_the_way_back_means_its_row_or_is_named(
    module_connection: Connection,
    target: Target,
    before: list[tuple[str, str]],
    during: list[tuple[str, int, str | None]],
    decisions: list[tuple[str, str]],
    between: list[tuple[str, int, str | None]],
    after: list[tuple[str, int, str | None]],
) -> None:
    connection = module_connection
    clear(connection)
    BIGINT.create(connection)
    for number, kind in enumerate(KINDS):
        BIGINT.insert(connection, number, kind=kind, state="open")
    application = Application(connection)
    for number in (0, 1):
        do_phase(target, connection, PLAN, number)
    for text, name in before:
        with suppress(CannotDecide):
            decided(connection, text, name)
    do_phase(target, connection, PLAN, 2)
    application.carry_out([write for write in during if write[0] in ("text", "delete", "other")])
    do_phase(target, connection, PLAN, 3)
    for text, name in decisions:
        with suppress(CannotDecide):
            decided(connection, text, name)
    application.carry_out(between)
    rows_before = rows_of(connection)
    do_phase(target, connection, PLAN, 4)
    application.texts = False
    application.carry_out(after)
    written = rows_of(connection)
    undo_phase(target, connection, PLAN, 4)
    back = rows_of(connection)
    assert {
        key: {name: value for name, value in row.items() if name not in ("kind", "state")}
        for key, row in back.items()
    } == written, "no column but the texts is written"
    means = {key: meant_by(connection, row["kind"]) for key, row in back.items()}
    for key, row in back.items():
        was = rows_before.get(key)
        if was is not None and was["kind_id"] == row["kind_id"]:
            assert row["kind"] == was["kind"]
        elif row["kind_id"] in in_words(connection):
            assert means[key] == row["kind_id"], f"{row['kind']!r} means another row"
        if was is not None:
            assert row["state"] == was["state"]
    (proof,) = texts_mean_their_rows(PLAN, BIGINT.table)
    named = {f"{{{','.join(key)}}}" for key in differing(connection, proof)}
    assert named == {key for key, row in back.items() if means[key] != row["kind_id"]}
    follow(target, connection)
    followed = rows_of(connection)
    assert legacy(followed) == legacy(back)
    undo_phase(target, connection, PLAN, 3)
    assert rows_of(connection) == followed
    undo_phase(target, connection, PLAN, 2)
    cleared = rows_of(connection)
    assert legacy(cleared) == legacy(back)
    assert {row["kind_id"] for row in cleared.values()} <= {None}
    for number in (1, 0):
        undo_phase(target, connection, PLAN, number)
        assert legacy(rows_of(connection)) == legacy(back)
