"""The scan of a table against a plain model of its categories, and what it counts and lists."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from rollout.engine.audit import CATEGORIES, MISMATCHED
from rollout.engine.target import Connection, Target
from rollout.plan.names import MAX_LOOKUP_CHARACTERS, in_target, normal
from rollout.plan.transition import fill as fill_of
from tests.engine.actions import audit, do_step, do_until, run_fill
from tests.engine.samples import BIGINT, DIRTY
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


def test_no_more_mismatches_are_listed_than_there_is_room_for_but_all_are_counted(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    connection.execute("INSERT INTO things (id, kind) SELECT n, 'k' FROM generate_series(1, 20) n")
    do_until(target, connection, PLAN, "map-values")
    result = audit(target, PLAN, store=15)
    assert len(result.mismatches) == 15
    assert (result.mismatched, result.rows) == (20, 20)
