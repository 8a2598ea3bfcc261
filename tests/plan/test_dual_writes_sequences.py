"""The dual write under any sequence of writes, and under several sessions."""

import threading
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from rollout.engine import ddl
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Fill, Statement
from rollout.plan.names import tidy
from rollout.plan.transition import fill as fill_of
from tests.engine.actions import (
    NoControl,
    audit,
    do_step,
    run_fill,
    undo_step,
    wait_until_somebody_waits,
)
from tests.engine.samples import BIGINT, DIRTY
from tests.plan.test_dual_writes import TRIGGERS, apply_all, start
from tests.support.processes import PATIENCE

TEXTS = (
    st.sampled_from(DIRTY)
    | st.none()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
)
NUMBERS = st.integers(0, 4)
OPERATIONS = st.one_of(
    st.tuples(st.just("write text"), NUMBERS, TEXTS, TEXTS),
    st.tuples(st.just("write both"), NUMBERS, TEXTS, TEXTS),
    st.tuples(st.just("clear new"), NUMBERS, st.none(), st.none()),
    st.tuples(st.just("touch"), NUMBERS, TEXTS, st.none()),
    st.tuples(st.just("delete"), NUMBERS, st.none(), st.none()),
    st.tuples(st.just("backfill"), NUMBERS, st.none(), st.none()),
)


@dataclass
class Application:
    """Writes rows of the sample, and remembers what the legacy texts must be."""

    connection: Connection
    texts: dict[tuple[int], tuple[str | None, str | None]] = field(default_factory=dict)

    def write(self, number: int, kind: str | None, state: str | None, **more: object) -> None:
        write = BIGINT.update if (number,) in self.texts else BIGINT.insert
        write(self.connection, number, kind=kind, state=state, **more)
        self.texts[number,] = (kind, state)

    def do(self, operation: str, number: int, kind: str | None, state: str | None) -> None:
        there = (number,) in self.texts
        match operation:
            case "write text":
                self.write(number, kind, state)
            case "write both":
                self.write(number, kind, state, kind_id=self.id_of(kind), is_open=False)
            case "clear new" if there:
                BIGINT.update(self.connection, number, kind_id=None, is_open=None)
            case "touch" if there:
                BIGINT.update(self.connection, number, note=kind)
            case "delete" if there:
                BIGINT.delete(self.connection, number)
                del self.texts[number,]
            case "backfill":
                run_fill(self.connection, FILL)

    def id_of(self, kind: str | None) -> int:
        """What an application that writes both shapes makes of a text."""
        shown = self.connection.execute(
            sql.SQL("SELECT coalesce(nullif({}, ''), 'Unspecified')").format(
                tidy(sql.Literal(kind or ""))
            )
        ).fetchone()
        assert shown is not None
        self.connection.execute(
            "INSERT INTO kinds (name) VALUES (%s) ON CONFLICT DO NOTHING", shown
        )
        row = self.connection.execute(
            "SELECT id FROM kinds WHERE lower(name) = lower(%s)", shown
        ).fetchone()
        assert row is not None
        return int(row[0])


FILL: Fill = fill_of(BIGINT.plan, BIGINT.table)


@settings(max_examples=25)
@given(
    before=st.lists(st.tuples(TEXTS, TEXTS), max_size=3),
    operations=st.lists(OPERATIONS, max_size=8),
)
def test_any_sequence_of_writes_leaves_every_row_right_and_rolls_back_to_the_exact_texts(
    expanded_table: Connection,
    target: Target,
    before: list[tuple[str | None, str | None]],
    operations: list[tuple[str, int, str | None, str | None]],
) -> None:
    connection, plan = expanded_table, BIGINT.plan
    begun = plan.phases[2].steps[:2]
    connection.execute("TRUNCATE things")
    application = Application(connection)
    for number, texts in enumerate(before):
        application.write(number, *texts)
    for step in begun:
        do_step(target, connection, plan, 2, step)
    for operation in operations:
        application.do(*operation)
    run_fill(connection, FILL)
    result = audit(target, plan)
    assert result.mismatches == []
    assert result.rows == len(application.texts)
    assert BIGINT.texts(connection) == application.texts
    for step in reversed(begun):
        undo_step(target, connection, plan, 2, step)
    filled = BIGINT.count(connection, "num_nonnulls(kind_id, state_id, is_open, opened_at) > 0")
    assert filled == 0
    assert BIGINT.texts(connection) == application.texts


def test_the_mapping_never_keeps_one_transaction_waiting_for_another(
    target: Target, connection: Connection, app: Connection
) -> None:
    """Its own uncommitted lookup rows are in nobody's way while it waits for somebody's."""
    start(target, connection)
    ddl.apply(connection, TRIGGERS.remove(), NoControl())
    BIGINT.insert(app, 1, kind="Castle")
    BIGINT.insert(app, 2, kind="Tower")
    ddl.apply(connection, TRIGGERS.install("forward"), NoControl())
    app.execute("BEGIN")
    BIGINT.insert(app, 3, kind="Tower")
    mapping = [
        action
        for action in BIGINT.plan.step(2, "backfill").forward(BIGINT.plan)
        if isinstance(action, Statement)
    ]
    with target.connect() as other:
        other.execute("SET statement_timeout = '60s'")
        engine = threading.Thread(target=apply_all, args=(connection, mapping))
        engine.start()
        wait_until_somebody_waits(other)
        BIGINT.insert(other, 4, kind="Castle")
        app.execute("COMMIT")
        engine.join(PATIENCE)
    run_fill(connection, FILL)
    assert [BIGINT.name_of(connection, n) for n in (1, 2, 3, 4)] == [
        *("Castle", "Tower", "Tower", "Castle")
    ]
