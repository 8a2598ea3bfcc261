"""Care for rows that raise: after one did for a while, and the longer the oftener they do."""

from dataclasses import replace

from psycopg import sql

from rollout.engine.careful_batches import MAX_BATCHES, Care
from rollout.plan.actions import Fill
from rollout.plan.updates import Assignment
from tests.schemas import table

CAREFUL = Fill(
    kind="fill", table=table("thing"), assignments=(Assignment("id", sql.SQL("coalesce(1, 2)")),)
)
PLAIN = replace(CAREFUL, assignments=(Assignment("id", sql.SQL("1")),), careful=CAREFUL)


def careful_batches(care: Care) -> int:
    """How many batches are written with care after a plain one raised."""
    action, number = care.after(PLAIN, raised=True), 0
    while action is CAREFUL:
        action, number = care.after(action, raised=False), number + 1
    return number


def test_care_doubles_where_rows_raise_again_and_again_and_goes_where_they_do_not() -> None:
    care = Care(PLAIN)
    assert care.after(PLAIN, raised=False) is PLAIN
    assert [careful_batches(care) for _ in range(8)] == [2, 4, 8, 16, 32, 64, 64, MAX_BATCHES]
    for _ in range(10):
        assert care.after(PLAIN, raised=False) is PLAIN
    assert careful_batches(care) == 2


def test_care_lasts_for_as_long_as_careful_batches_raise() -> None:
    care = Care(PLAIN)
    action = care.after(PLAIN, raised=True)
    for _ in range(5):
        action = care.after(action, raised=True)
        assert action is CAREFUL
    assert care.batches == 2


def test_a_pass_on_the_way_back_stays_as_it_is() -> None:
    cleared = replace(PLAIN, kind="clear", careful=None)
    care = Care(cleared)
    assert care.after(cleared, raised=True) is cleared
