"""Care for rows that raise: after one did for a while, and the longer the oftener they do."""

from dataclasses import replace

import pytest
from psycopg import sql

from rollout.engine import backfill, lane_totals, lanes
from rollout.engine.careful_batches import MAX_BATCHES, Care
from rollout.engine.control import Interrupted
from rollout.engine.target import Target
from rollout.engine.value_decisions import decide_values
from rollout.plan.actions import Fill
from rollout.plan.transition import fill
from rollout.plan.updates import Assignment
from tests.engine.actions import StopAfter, claimed, do_step, new_job, work_off, worker
from tests.plan.test_conversions import CENTS, OFFER, OFFERS
from tests.schemas import MakeScenario, table

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


MANY = """
INSERT INTO offer (price) SELECT g || '.00' FROM generate_series(41, 3000) g;
UPDATE offer SET price = 'n/a' WHERE id IN (7, 77, 777, 2777);
UPDATE offer SET price = 'free' WHERE id IN (8, 78, 778);
CREATE SEQUENCE updates;
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM nextval('updates'); RETURN NULL; END $$;
"""
COMMITS = """
CREATE TABLE commits (synchronous text);
CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO commits VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
CREATE TRIGGER note_commit AFTER UPDATE ON rollout.lanes FOR EACH ROW
 WHEN (new.next_block <> old.next_block) EXECUTE FUNCTION note_commit()"""
COUNTS = """CREATE TRIGGER count_up AFTER UPDATE ON offer
 FOR EACH STATEMENT EXECUTE FUNCTION count_up()"""


@pytest.mark.parametrize("most_refused", [500, 3])
def test_rows_that_convert_are_written_at_once_beside_a_few_that_do_not(
    scenario: MakeScenario, server: Target, monkeypatch: pytest.MonkeyPatch, most_refused: int
) -> None:
    monkeypatch.setattr(backfill, "MAX_REFUSED_ROWS", most_refused)
    offers = scenario(OFFERS + MANY, CENTS)
    connection, decided = offers.connection, {"price_cents": "0"}
    decide_values(
        *(connection, offers.plan, offers.plan.reviewed_conversions[0]),
        {'["free"]': decided},
        reviewer="lena",
    )
    offers.carry_out(0, 1)
    for step in offers.plan.phases[2].steps[:2]:
        do_step(offers.target, connection, offers.plan, 2, step)
    connection.execute(COUNTS)
    connection.execute(COMMITS)
    plain = fill(offers.plan, OFFER)
    job, _ = new_job(connection, plain)
    totals = work_off(connection, plain, job, 1)
    assert (totals.scanned, totals.updated, totals.quarantined) == (3_000, 2_996, 4)
    assert (totals.already_right, totals.rewritten) == (0, 0)
    assert backfill.count_unfilled(connection, plain, job) == 0
    ((updates,),) = offers.application("SELECT last_value FROM updates")
    # Those of the rows that do not convert, and one of all others; or 64 rows at a time.
    assert (updates < 30) == (most_refused == 500), updates
    waits = {how for (how,) in offers.application("SELECT synchronous FROM commits")}
    assert most_refused < 500 or waits == {"on"}, "no hint is set of a commit that may be lost"
    connection.execute("UPDATE offer SET price = '1.00' WHERE price = 'n/a'")
    assert offers.audit().mismatched == 0


@pytest.mark.parametrize("most_refused", [500, 3])
def test_a_stop_between_the_parts_of_a_range_leaves_no_row_uncounted(
    scenario: MakeScenario, server: Target, monkeypatch: pytest.MonkeyPatch, most_refused: int
) -> None:
    monkeypatch.setattr(backfill, "MAX_REFUSED_ROWS", most_refused)
    offers = scenario(OFFERS + MANY, CENTS)
    connection = offers.connection
    offers.carry_out(0, 1)
    for step in offers.plan.phases[2].steps[:2]:
        do_step(offers.target, connection, offers.plan, 2, step)
    plain = fill(offers.plan, OFFER)
    job, _ = new_job(connection, plain)
    stops = 0
    while not lanes.is_finished(connection, job):
        lane = claimed(connection, job)
        try:
            stop = StopAfter(max(1, stops))
            worker(connection, plain, stripes=2, control=stop).run_lane(lane, seconds=60)
        except Interrupted:
            stops += 1
        lanes.release(connection, lane)
    assert stops > 2
    totals = lane_totals.totals(connection, job)
    assert (totals.scanned, totals.updated, totals.quarantined) == (3_000, 2_993, 7)
    assert connection.execute("SELECT sum(scanned) FROM rollout.lanes").fetchone() == (3_000,)
