"""The function that says which lookup row a text means, in a real database."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import errors, sql

from rollout.engine import ddl
from rollout.engine.mapping import CannotDecide, Decision, decide, normal_forms
from rollout.engine.target import Connection, Target
from rollout.plan import Lookup
from rollout.plan.names import in_target
from rollout.plan.resolvers import resolver_name
from rollout.plan.transition import fill as fill_of
from rollout.plan.transition import triggers as triggers_of
from tests.engine.actions import (
    NoControl,
    audit,
    do_phase,
    do_step,
    do_until,
    run_fill,
    undo_phase,
    undo_step,
    wait_until_somebody_waits,
)
from tests.engine.samples import BIGINT, DIRTY, SAMPLES, Sample
from tests.support.processes import PATIENCE

KIND, STATE = BIGINT.kind, BIGINT.state
TRIGGERS = triggers_of(BIGINT.plan, BIGINT.table)


def resolve(
    connection: Connection,
    text: str | None,
    lookup: Lookup = KIND,
    *,
    sample: Sample = BIGINT,
    make: bool = True,
) -> int | None:
    row = connection.execute(
        sql.SQL("SELECT {} (%s, %s)").format(in_target(resolver_name(lookup, sample.plan.name))),
        [text, make],
    ).fetchone()
    assert row is not None
    lookup_id: int | None = row[0]
    return lookup_id


def names_of(connection: Connection, lookup: Lookup = KIND) -> dict[int, str]:
    rows = connection.execute(sql.SQL("SELECT id, name FROM {}").format(lookup.lookup_sql))
    return dict(rows.fetchall())


def decided(
    connection: Connection, meanings: Mapping[str, Decision], lookup: Lookup = KIND
) -> None:
    decide(connection, BIGINT.plan, lookup, meanings, reviewer="ada", keep=True)


@pytest.fixture
def mapped_things(target: Target, connection: Connection) -> Connection:
    """One row is there, and its texts are mapped."""
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House", state="open")
    do_until(target, connection, BIGINT.plan, "map-values")
    return connection


def test_a_resolver_asks_for_a_decision_before_it_looks_for_a_name(
    mapped_things: Connection,
) -> None:
    decided(mapped_things, {"h": Decision("House"), "n/a": Decision()})
    house = resolve(mapped_things, "House")
    assert {resolve(mapped_things, text) for text in ("h", " H\u00a0", "house ")} == {house}
    assert names_of(mapped_things)[resolve(mapped_things, "N/A") or 0] == "Unspecified"
    assert sorted(names_of(mapped_things).values()) == ["House", "Unspecified"]


def test_a_decision_for_no_value_is_answered_with_none(mapped_things: Connection) -> None:
    decided(mapped_things, {"n/a": Decision()}, STATE)
    assert resolve(mapped_things, "n/a", STATE) is None
    assert resolve(mapped_things, " ", STATE) is None
    assert set(names_of(mapped_things, STATE).values()) == {"open"}


def test_a_search_writes_nothing(mapped_things: Connection) -> None:
    assert resolve(mapped_things, "Castle", make=False) is None
    assert resolve(mapped_things, "HOUSE", make=False) == resolve(mapped_things, "House")
    assert set(names_of(mapped_things).values()) == {"House", "Unspecified"}
    mapped_things.execute("SET default_transaction_read_only = on")
    assert resolve(mapped_things, "castle", make=False) is None
    assert resolve(mapped_things, "House") == resolve(mapped_things, " house", make=False)


@pytest.mark.parametrize("first_ends", ["commit", "rollback"])
def test_two_transactions_that_ask_for_the_same_new_text_share_its_row(
    first_ends: str, target: Target, mapped_things: Connection, app: Connection
) -> None:
    answers: list[int | None] = []
    with target.connect() as first:
        first.execute("BEGIN")
        earlier = resolve(first, "Castle")
        second = threading.Thread(target=lambda: answers.append(resolve(app, "CASTLE")))
        second.start()
        wait_until_somebody_waits(mapped_things)
        first.execute(first_ends)
        second.join(PATIENCE)
    castles = {
        id_: name for id_, name in names_of(mapped_things).items() if name.lower() == "castle"
    }
    assert list(castles) == answers
    assert (answers == [earlier]) == (first_ends == "commit")


def test_a_text_that_is_being_decided_on_waits_for_the_decision(
    target: Target, mapped_things: Connection, app: Connection
) -> None:
    """Without the lock it would be mapped by its name, and stay so after the decision."""
    answers: list[int | None] = []
    with target.connect() as reviewing:
        reviewing.execute("BEGIN")
        # As `decide` does, which commits at once.
        reviewing.execute("LOCK TABLE rollout.decisions IN SHARE ROW EXCLUSIVE MODE")
        reviewing.execute(
            sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(
                in_target(KIND.mapping_name(BIGINT.plan.name))
            )
        )
        writing = threading.Thread(target=lambda: answers.append(resolve(app, "h")))
        writing.start()
        wait_until_somebody_waits(mapped_things)
        reviewing.execute(
            "INSERT INTO rollout.decisions (plan, table_label, legacy_column, normal, name,"
            " reviewer) VALUES (%s, 'things', 'kind', 'h', 'House', 'ada')",
            [BIGINT.plan.name],
        )
        reviewing.execute("COMMIT")
        writing.join(PATIENCE)
    assert answers == [resolve(mapped_things, "House")]
    assert "h" not in names_of(mapped_things).values()


def test_a_row_that_was_deleted_is_made_again_for_who_writes_its_text(
    mapped_things: Connection,
) -> None:
    """After phase 4 the lookup table is the application's own."""
    castle = resolve(mapped_things, "Castle")
    mapped_things.execute("DELETE FROM kinds WHERE name = 'Castle'")
    assert resolve(mapped_things, "Castle", make=False) is None
    again = resolve(mapped_things, "Castle")
    assert names_of(mapped_things)[again or 0] == "Castle"
    assert again != castle
    assert resolve(mapped_things, "Castle") == again


def test_a_row_that_was_renamed_keeps_its_texts(mapped_things: Connection) -> None:
    house = resolve(mapped_things, "House")
    mapped_things.execute("UPDATE kinds SET name = 'Casa' WHERE name = 'House'")
    assert resolve(mapped_things, "House") == house == resolve(mapped_things, "casa")


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_resolver_answers_the_same_from_the_mapping_to_the_end_and_back(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    sample.insert(connection, 1, kind="House", state="open")
    do_phase(target, connection, sample.plan, 0)
    decide(
        connection, sample.plan, sample.kind, {"h": Decision("House")}, reviewer="ada", keep=True
    )
    do_phase(target, connection, sample.plan, 1)
    with pytest.raises(errors.UndefinedFunction):
        resolve(connection, "h", sample.kind, sample=sample)
    spellings = ("h", "H ", " h", "\u00a0h", "h\t", "H", "h\n")
    made = (("do", 2), ("do", 3), ("do", 4), ("undo", 4), ("undo", 3))
    for (direction, phase), spelling in zip(made, spellings, strict=False):
        (do_phase if direction == "do" else undo_phase)(target, connection, sample.plan, phase)
        house = resolve(connection, "House", sample.kind, sample=sample)
        assert resolve(connection, spelling, sample.kind, sample=sample) == house
        assert set(names_of(connection, sample.kind).values()) == {"House", "Unspecified"}
    undo_phase(target, connection, sample.plan, 2)
    with pytest.raises(errors.UndefinedFunction):
        resolve(connection, "h", sample.kind, sample=sample)


TEXTS = st.sampled_from([*DIRTY, "h", "H ", "haus", "flat", "n/a", "N/A ", "casa"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6
)
NAMES = st.sampled_from(["House", "Flat", "casa", "Open", "n/a"])
DECISIONS = st.dictionaries(
    TEXTS.filter(lambda text: bool(text)),
    st.builds(Decision, NAMES) | st.just(Decision()) | st.just(Decision(by_default=True)),
    max_size=4,
)


class People:
    """What they decided, as they know it: the last word about each normal form."""

    def __init__(self, connection: Connection, lookup: Lookup) -> None:
        self.connection, self.lookup = connection, lookup
        self.decided: dict[str, str | None] = {}

    def decide(self, decisions: Mapping[str, Decision]) -> None:
        for text, decision in decisions.items():
            form = self.form_of(text)
            try:
                decided(self.connection, {text: decision}, self.lookup)
            except CannotDecide:
                continue
            self.decided.pop(form, None)
            if not decision.by_default:
                self.decided[form] = decision.name or self.lookup.blank

    def form_of(self, text: str) -> str:
        return normal_forms(self.connection, [text])[text]

    def expect(self, text: str | None, row: int | None) -> None:
        form = self.form_of(text or "")
        meant = self.decided.get(form, form or self.lookup.blank)
        name = None if row is None else names_of(self.connection, self.lookup)[row]
        assert self.form_of(name or "") == self.form_of(meant or ""), (text, name, meant)


@settings(max_examples=25)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5),
    early=DECISIONS,
    late=DECISIONS,
    which=st.sampled_from(["kind", "state"]),
)
def test_trigger_application_backfill_and_audit_agree_whatever_people_decide(
    expanded_table: Connection,
    target: Target,
    texts: list[str | None],
    early: dict[str, Decision],
    late: dict[str, Decision],
    which: str,
) -> None:
    connection, plan = expanded_table, BIGINT.plan
    lookup = KIND if which == "kind" else STATE
    column = f"{which}_id"
    connection.execute("TRUNCATE things; TRUNCATE rollout.decisions")
    people = People(connection, lookup)

    def row(number: int) -> int | None:
        lookup_id: int | None = BIGINT.row(connection, number, column)
        return lookup_id

    for number, text in enumerate(texts):
        BIGINT.insert(connection, number, **{which: text})
    people.decide(early)
    for step in plan.phases[2].steps[:2]:
        do_step(target, connection, plan, 2, step)
    people.decide(late)
    run_fill(connection, fill_of(plan, BIGINT.table))
    meant = [resolve(connection, text, lookup) for text in texts]
    assert meant == [resolve(connection, text, lookup, make=False) for text in texts]
    assert meant == [row(number) for number in range(len(texts))], "by the backfill"
    for text, id_ in zip(texts, meant, strict=True):
        people.expect(text, id_)
        # Spelt as nobody has written it yet, so that no mapping knows it.
        people.expect(text, resolve(connection, f"\t{text or ''} \u00a0\n", lookup))
    for text in [*early, *late]:
        people.expect(text, resolve(connection, text, lookup))
    there = names_of(connection, lookup)

    def write(first: int, what: str) -> None:
        for number, (text, id_) in enumerate(zip(texts, meant, strict=True), first):
            values: dict[str, Any] = {} if what == "row" else {which: text}
            values |= {} if what == "text" else {column: id_}
            BIGINT.insert(connection, number, **values)
            assert row(number) == id_, what
            kept = BIGINT.row(connection, number, which)
            assert resolve(connection, kept, lookup) == id_, what
        assert names_of(connection, lookup) == there
        result = audit(target, plan)
        assert result.mismatches == []

    write(100, "text")
    write(200, "both")
    write(300, "row")
    ddl.apply(connection, TRIGGERS.install("reverse"), NoControl())
    write(400, "text")
    write(500, "both")
    write(600, "row")
    ddl.apply(connection, TRIGGERS.install("forward"), NoControl())
    assert audit(target, plan).mismatches == []
    ddl.apply(connection, TRIGGERS.remove(), NoControl())
    assert meant == [resolve(connection, text, lookup) for text in texts], "without triggers"
    for step in reversed(plan.phases[2].steps[:2]):
        undo_step(target, connection, plan, 2, step)
