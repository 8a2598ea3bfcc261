"""Old and new releases side by side, in two sessions, through phases forward and back."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from rollout.engine.target import Connection, Target
from rollout.plan.names import in_target
from rollout.plan.resolvers import resolver_name
from rollout.plan.translations import Lookup
from tests.engine.actions import audit, do_phase, do_step, undo_phase
from tests.engine.samples import BIGINT
from tests.support.bare_databases import clear

PLAN = BIGINT.plan
MADE_AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
LOOKUPS = {"kind": BIGINT.kind, "state": BIGINT.state}
KNOWN = {"kind": ("House", "Flat", "Castle"), "state": ("open", "sold", "let")}
TEXTS = {
    "kind": (*KNOWN["kind"], " HOUSE", "flat ", None, "", "Inn", " inn", "Mill", "Barn"),
    "state": (*KNOWN["state"], " Open", "SOLD", None, "", "Under offer", "under  offer", "New"),
}
WRITERS = ("legacy", "both", "new", "conflicting")
WRITES = st.sampled_from(["kind", "state"]).flatmap(
    lambda column: st.tuples(
        st.sampled_from(WRITERS),
        st.integers(0, 5),
        st.just(column),
        st.sampled_from(TEXTS[column]),
    )
)
OTHERS = st.tuples(
    st.sampled_from(["touch", "commit", "roll back", "forward", "back"]),
    st.integers(0, 5),
    st.just(""),
    st.none(),
)


@dataclass
class Releases:
    """Writes rows as each release would, and remembers what the last write of each value meant.

    A value is known by its text where a text led, and by the id of its lookup row where that led.
    Each of the two sessions has rows of its own, since neither may wait for the other here. Rows
    from the fourth on are written by upserts.
    """

    target: Target
    engine: Connection
    sessions: list[Connection]
    phase: int = 2
    rows: dict[int, dict[str, str | int | None]] = field(default_factory=dict)
    committed: dict[int, dict[str, str | int | None]] = field(default_factory=dict)

    def do(self, operation: str, number: int, column: str, text: str | None) -> None:
        match operation:
            case "commit" | "roll back":
                self.end(number % 2, commits=operation == "commit")
            case "forward" | "back":
                self.move(forward=operation == "forward")
            case "touch":
                if number in self.rows:
                    BIGINT.update(self.session(number), number, note="touched")
            case _ if self.phase < 4 or operation == "new":
                self.write(operation, number, column, text)

    def session(self, number: int) -> Connection:
        """The session of a row, in a transaction."""
        session = self.sessions[number % 2]
        if not session.info.transaction_status:
            session.execute("BEGIN")
        return session

    def end(self, index: int, *, commits: bool) -> None:
        source, to = (self.rows, self.committed) if commits else (self.committed, self.rows)
        self.sessions[index].execute("COMMIT" if commits else "ROLLBACK")
        for number in [n for n in to if n % 2 == index]:
            del to[number]
        to.update({n: dict(row) for n, row in source.items() if n % 2 == index})

    def move(self, *, forward: bool) -> None:
        """The next phase, or the rollback of the newest."""
        for index in (0, 1):
            self.end(index, commits=True)
        if forward and self.phase < 4:
            self.fill()
            self.phase += 1
            do_phase(self.target, self.engine, PLAN, self.phase)
        elif not forward and self.phase > 2:
            undo_phase(self.target, self.engine, PLAN, self.phase)
            self.phase -= 1

    def fill(self) -> None:
        """A second run of the backfill: for texts whose lookup row the other session was making."""
        if self.phase == 2:
            do_step(self.target, self.engine, PLAN, 2, PLAN.step(2, "backfill"))

    def write(self, writer: str, number: int, column: str, text: str | None) -> None:
        key = f"{column}_id"
        id_ = self.meaning(column, text)
        if writer in ("both", "new") and id_ is None and not is_blank(text):
            # Nobody has committed its row yet: a release that knows rows cannot write it.
            text = KNOWN[column][0]
            id_ = self.meaning(column, text)
        if writer == "conflicting":
            id_ = self.meaning(column, KNOWN[column][-1])
        if self.phase == 3 and writer != "new":
            # The writer of a new text would wait for the other's transaction.
            self.end(1 - number % 2, commits=True)
        values: dict[str, Any] = {}
        if writer != "new":
            values[column] = text
        if writer != "legacy":
            values[key] = id_
        if self.phase == 4 and column == "state":
            opens = (text or "").strip().lower() == "open"
            values |= {"is_open": opens, "opened_at": MADE_AT if opens else None}
        led = self.leads(writer, number, column, text, id_)
        self.save(number, values)
        self.rows.setdefault(number, {"kind": None, "state": None})[column] = led

    def leads(
        self, writer: str, number: int, column: str, text: str | None, id_: int | None
    ) -> str | int | None:
        """What a write leaves in a value: a text, or the id of a lookup row."""
        known = self.rows.get(number)
        if writer == "new" and id_ is None:
            # Before the cutover an empty key alone is filled in again.
            return known[column] if known and self.phase == 2 else None
        if writer == "new":
            return id_
        if writer != "conflicting":
            return text
        if known and number < 3:
            was = BIGINT.row(self.session(number), number, column, f"{column}_id")
            if id_ == was[1]:
                return text
            if text == was[0]:
                return id_
        return text if self.phase == 2 and not is_blank(text) else id_

    def save(self, number: int, values: dict[str, Any]) -> None:
        """Update or insert a row; or upsert it, which tries the insert in any case."""
        session = self.session(number)
        row: dict[str, Any] = {"id": number, "made_at": MADE_AT, **values}
        if self.phase == 4:
            # No trigger fills these in any more.
            row = {"kind_id": self.meaning("kind", None), "is_open": False, **row}
        if number < 3 and number in self.rows:
            BIGINT.update(session, number, **values)
            return
        session.execute(
            sql.SQL("INSERT INTO things ({}) VALUES ({}){}").format(
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(map(sql.Literal, row.values())),
                sql.SQL("" if number < 3 else " ON CONFLICT (id) DO UPDATE SET {}").format(
                    sql.SQL(", ").join(
                        sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name))
                        for name in values
                    )
                ),
            )
        )

    def meaning(self, column: str, text: str | None) -> int | None:
        return meaning(self.engine, LOOKUPS[column], text)


def meaning(connection: Connection, lookup: Lookup, text: str | None) -> int | None:
    row = connection.execute(
        sql.SQL("SELECT {} (%s, false)").format(in_target(resolver_name(lookup, PLAN.name))),
        [text],
    ).fetchone()
    assert row is not None
    answer: int | None = row[0]
    return answer


def is_blank(text: str | None) -> bool:
    return not (text or "").strip()


@pytest.fixture(scope="module")
def sessions(target: Target) -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        opened = [stack.enter_context(target.connect()) for _ in range(2)]
        for session in opened:
            session.execute("SET statement_timeout = '20s'")
        yield opened


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(operations=st.lists(WRITES | WRITES | OTHERS, min_size=5, max_size=25))
def test_any_writes_of_any_releases_through_the_phases_leave_both_sides_saying_the_last(
    module_connection: Connection,
    target: Target,
    sessions: list[Connection],
    operations: list[tuple[str, int, str, str | None]],
) -> None:
    engine = module_connection
    for session in sessions:
        session.execute("ROLLBACK")
    clear(engine)
    BIGINT.create(engine)
    for number, (kind, state) in enumerate(zip(KNOWN["kind"], KNOWN["state"], strict=True), 10):
        BIGINT.insert(engine, number, kind=kind, state=state)
    for phase in (0, 1, 2):
        do_phase(target, engine, PLAN, phase)
    releases = Releases(target, engine, sessions)
    for operation in operations:
        releases.do(*operation)
    while releases.phase > 2:
        releases.move(forward=False)
    releases.move(forward=False)
    releases.fill()
    result = audit(target, PLAN)
    assert result.mismatches == []
    assert result.rows == len(releases.rows) + 3
    for number, row in releases.rows.items():
        for column, led in row.items():
            text, id_ = BIGINT.row(engine, number, column, f"{column}_id")
            assert id_ == releases.meaning(column, text)
            if isinstance(led, int):
                assert id_ == led
            else:
                assert text == led or (is_blank(text) and is_blank(led))
