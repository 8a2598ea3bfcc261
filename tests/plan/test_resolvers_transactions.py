"""Lookup rows are made in the application's own transactions, which are not to notice it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from psycopg import errors

from rollout.engine import mapping
from rollout.engine.target import Connection
from rollout.plan import Lookup
from tests.engine.actions import do_step, wait_until_somebody_waits
from tests.schemas import PARCEL, STATUS, MakeScenario, Scenario, plan_of
from tests.support.processes import PATIENCE

NULLABLE = replace(STATUS, blank=None, required=False)
NO_ROW = replace(NULLABLE, unknown="null")


def insert(session: Connection, text: str) -> int:
    """A parcel of the application; one that waits for another transaction is told off."""
    return int(value(session, "INSERT INTO parcel (status) VALUES (%s) RETURNING id", text))


def value(session: Connection, query: str, *parameters: object) -> Any:
    row = session.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def sessions(of: Scenario, begin: str = "BEGIN") -> Iterator[tuple[Connection, Connection]]:
    """Two sessions of the application, each in a transaction, which wait for nothing long."""
    with of.target.connect() as first, of.target.connect() as second:
        for session in (first, second):
            session.execute("SET application_name = 'the application'")
            session.execute("SET statement_timeout = '5s'")
            session.execute(begin.encode())
        yield first, second


def statuses(of: Scenario) -> list[tuple[str, str | None]]:
    """The text of each parcel that was written since, and the name of its lookup row."""
    return of.application(
        "SELECT p.status, s.name FROM parcel p LEFT JOIN parcel_statuses s ON s.id = p.status_id"
        " WHERE p.id > 40 ORDER BY p.id"
    )


def lookup_ids(of: Scenario) -> list[int]:
    return [id_ for (id_,) in of.application("SELECT id FROM parcel_statuses ORDER BY id")]


@pytest.mark.parametrize("lookup", [STATUS, NULLABLE, NO_ROW], ids=["row", "no blank", "no row"])
def test_k10_a_texts_in_opposite_order_wait_for_nobody(
    server: object, scenario: MakeScenario, lookup: Lookup
) -> None:
    made = scenario(PARCEL, plan_of(lookup))
    made.carry_out(0, 1, 2)
    with sessions(made) as (first, second):
        insert(first, "Returned")
        insert(second, "Refused")
        insert(first, "Refused")
        insert(second, "Returned")
        insert(second, " RETURNED")
        insert(second, "sent")
        first.execute("COMMIT")
        second.execute("COMMIT")
    written = dict(statuses(made))
    assert len(statuses(made)) == 6
    assert written["sent"].lower() == "sent"  # type: ignore[union-attr]
    # Whoever writes such a row again fills it in, and so does phase 2 run once more.
    made.application("UPDATE parcel SET remark = 'again' WHERE id = 44")
    assert ("Returned", None if lookup is NO_ROW else "Returned") in statuses(made)
    if lookup is not NO_ROW:
        made.carry_out(2)
        assert all((name or "").lower() == text.strip().lower() for text, name in statuses(made))
        assert made.audit().mismatched == 0


def test_k10_a_another_spelling_of_a_known_text_waits_for_nobody(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2)
    with sessions(made) as (first, second):
        insert(first, "LOST")
        insert(second, "LOST")
        insert(second, "Lost")
        second.execute("COMMIT")
        first.execute("COMMIT")
    assert [name for _, name in statuses(made)] == ["lost"] * 3
    assert made.audit().mismatched == 0


@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
def test_k10_a_a_column_that_must_have_a_value_waits_for_the_others_row(
    server: object, scenario: MakeScenario, ends: str
) -> None:
    """The behaviour after the cutover, and as soon as NULL is refused."""
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2)
    for step in made.plan.phases[3].steps[:2]:
        do_step(made.target, made.connection, made.plan, 3, step)
    with sessions(made) as (first, second):
        insert(first, "Returned")
        later = threading.Thread(target=insert, args=(second, "RETURNED"))
        later.start()
        wait_until_somebody_waits(made.connection)
        first.execute(ends.encode())
        later.join(PATIENCE)
        second.execute("COMMIT")
    names = {name for _, name in statuses(made)}
    assert names == ({"Returned"} if ends == "COMMIT" else {"RETURNED"})


def test_k10_a_texts_in_opposite_order_take_turns_where_a_column_must_have_a_value(
    server: object, scenario: MakeScenario
) -> None:
    """Each would wait for the other's row: nobody has to try again, and each finds its row."""
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2, 3)
    with sessions(made) as (first, second):

        def insert_the_others_texts() -> None:
            insert(second, "Refused")
            insert(second, "Returned")
            second.execute("COMMIT")

        insert(first, "Returned")
        later = threading.Thread(target=insert_the_others_texts)
        later.start()
        wait_until_somebody_waits(made.connection)
        insert(first, "Refused")
        first.execute("COMMIT")
        later.join(PATIENCE)
    texts = ("Refused", "Refused", "Returned", "Returned")
    assert sorted(statuses(made)) == [(text, text) for text in texts]
    assert made.audit().mismatched == 0


def test_k10_a_a_repeatable_read_does_not_fail_for_a_row_that_it_cannot_see(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2)
    with sessions(made, "BEGIN ISOLATION LEVEL REPEATABLE READ") as (first, second):
        assert value(second, "SELECT count(*) FROM parcel") == 40
        insert(first, "Returned")
        first.execute("COMMIT")
        insert(second, "Returned")
        insert(second, "RETURNED")
        second.execute("COMMIT")
    assert statuses(made)[0] == ("Returned", "Returned")
    made.carry_out(2)
    assert [name for _, name in statuses(made)] == ["Returned"] * 3


def test_k10_a_thousands_of_new_texts_in_one_transaction_hold_few_locks(
    newest: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2)
    with sessions(made) as (first, _):
        first.execute("INSERT INTO parcel (status) SELECT 'n' || n FROM generate_series(1, 2500) n")
        held = value(first, "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
    assert held < 1100


@pytest.mark.parametrize("text", ["sent", "SENT", "Returned", "RETURNED", ""])
def test_k10_b_the_last_number_is_that_of_the_applications_own_row(
    server: object, scenario: MakeScenario, text: str
) -> None:
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2)
    with sessions(made) as (session, _):
        number = insert(session, text)
        assert value(session, "SELECT lastval()") == number
        assert value(session, "SELECT currval('parcel_id_seq')") == number
        again = insert(session, f"{text} too")
        assert value(session, "SELECT lastval()") == again == number + 1


def test_k10_b_a_role_that_may_only_write_parcels_has_its_last_number(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(
        PARCEL + 'CREATE ROLE "{database}"; GRANT SELECT, INSERT ON parcel TO "{database}";'
    )
    made.carry_out(0, 1, 2)
    role = made.target.parameters["dbname"]
    try:
        with sessions(made) as (session, _):
            session.execute(f'SET ROLE "{role}"'.encode())
            number = insert(session, "Returned")
            assert value(session, "SELECT lastval()") == number
    finally:
        made.application(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


def test_k10_b_known_texts_use_up_no_number_of_the_lookups_sequence(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2)
    before = lookup_ids(made)
    for text in ("sent", "SENT", " Sent", "lost", "LOST", "", " "):
        made.application(f"INSERT INTO parcel (status) VALUES ('{text}')")
    made.application("INSERT INTO parcel (status) VALUES ('Returned')")
    assert lookup_ids(made) == [*before, before[-1] + 1]


def test_k10_b_after_the_cutover_the_last_number_is_the_applications_too(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2, 3)
    with sessions(made) as (session, _):
        number = insert(session, "Returned")
        assert value(session, "SELECT lastval()") == number
        with pytest.raises(errors.ForeignKeyViolation):
            session.execute("INSERT INTO parcel (status_id) VALUES (-1)")


def test_k10_c_the_review_tells_of_a_value_whose_insert_came_to_nothing(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2)
    made.application(
        "INSERT INTO parcel (id, status) VALUES (1, 'never kept') ON CONFLICT DO NOTHING",
        "DELETE FROM parcel WHERE status = 'open'",
    )
    counts = mapping.counts_of(made.connection, STATUS, mapping.EVERY_TEXT)
    review = mapping.review(made.connection, made.plan, STATUS, counts)
    assert {value.text for value in review.values if value.is_unused} == {"never kept", "open"}
    assert review.unused == 2


def test_k10_the_preflight_tells_what_is_left_of_rows_that_the_application_makes(
    newest: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL)
    for phase in (2, 3):
        item = made.item(phase, "lookup rows of new texts")
        assert item.level == "info"
        assert "a new value of parcel.status also creates its lookup row" in item.evidence
    made.plan = plan_of(NO_ROW)
    assert made.item(2, "lookup rows of new texts").level == "pass"
