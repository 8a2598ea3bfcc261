"""Rows that the database refuses: found, kept aside with the reason, tried again."""

import pytest

from rollout.engine import backfill, lane_totals, lanes, quarantine
from rollout.engine.lane_totals import Totals
from rollout.engine.lanes import Lane
from rollout.engine.quarantine import TooManyPoisonRows
from rollout.engine.retries import retry_row
from rollout.engine.target import Connection, Target
from rollout.plan.transition import fill as fill_of
from tests.engine.actions import claimed, do_until, new_job, work_off, worker
from tests.engine.samples import COMPOSITE, LISTED
from tests.engine.things import FILL, counted, legacy_rows, unfilled


def raises(
    connection: Connection, when: str, *, code: str = "P0001", deferred: bool = False
) -> None:
    """A trigger of the user's that raises for some rows."""
    kind = (
        "CONSTRAINT TRIGGER picky AFTER UPDATE ON things DEFERRABLE INITIALLY DEFERRED"
        if deferred
        else "TRIGGER picky BEFORE UPDATE ON things"
    )
    connection.execute(
        "CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF {when} THEN RAISE EXCEPTION 'not this one: %', new.id"
        f" USING ERRCODE = '{code}'; END IF; RETURN new; END $$;"
        f"CREATE {kind} FOR EACH ROW EXECUTE FUNCTION picky()".encode()
    )


def keys(connection: Connection, job: int) -> set[tuple[str, ...]]:
    return {row.key for row in quarantine.rows(connection, job, limit=None)}


def balance(totals: Totals) -> tuple[int, int, int, int]:
    return totals.scanned, totals.updated, totals.already_right, totals.quarantined


POISON = {("17",), ("18",), ("900",), ("2000",)}


@pytest.mark.parametrize("stripes", [1, 8])
def test_rows_whose_new_values_break_a_check_are_kept_aside_and_all_others_written(
    stripes: int, target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    connection.execute(
        "ALTER TABLE things ADD CONSTRAINT picky"
        " CHECK (id NOT IN (17, 18, 900, 2000) OR kind_id IS NULL) NOT VALID"
    )
    job, _ = new_job(connection, FILL)
    totals = work_off(connection, FILL, job, stripes)
    assert (totals.updated, totals.quarantined) == (1_996, 4)
    # With one stripe, a page has no room: rows move ahead of the scan, and are met once more.
    assert totals.already_right < (1_000 if stripes == 1 else 100)
    assert keys(connection, job) == POISON
    assert all("picky" in row.error for row in quarantine.rows(connection, job))
    assert backfill.count_unfilled(connection, FILL, job) == 0
    assert unfilled(connection) == 4


def test_rows_whose_old_values_break_a_check_are_kept_aside_too(
    target: Target, connection: Connection
) -> None:
    """NOT VALID lets them stay, but nobody may write them any more."""
    legacy_rows(target, connection, 2_000)
    connection.execute("ALTER TABLE things ADD CONSTRAINT told CHECK (id % 500 <> 3) NOT VALID")
    job, stripes = new_job(connection, FILL)
    assert balance(work_off(connection, FILL, job, stripes)) == (2_000, 1_996, 0, 4)
    assert keys(connection, job) == {("3",), ("503",), ("1003",), ("1503",)}


@pytest.mark.parametrize("code", ["P0001", "22012", "54000", "45000", "RL001"])
@pytest.mark.parametrize("deferred", [False, True], ids=["at once", "at the commit"])
def test_rows_for_which_a_trigger_raises_are_kept_aside_whatever_it_raises_and_when(
    code: str, deferred: bool, target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 300)
    raises(connection, "new.id IN (7, 150)", code=code, deferred=deferred)
    job, stripes = new_job(connection, FILL)
    assert balance(work_off(connection, FILL, job, stripes)) == (300, 298, 0, 2)
    rows = quarantine.rows(connection, job)
    assert [row.key for row in rows] == [("150",), ("7",)]
    assert rows[0].error.startswith("not this one: 150")
    assert backfill.count_unfilled(connection, FILL, job) == 0


def test_an_error_that_no_row_causes_stops_the_job_and_nothing_is_kept_aside(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 300)
    raises(connection, "true", code="42501")
    job, stripes = new_job(connection, FILL)
    with pytest.raises(Exception, match="not this one"):
        work_off(connection, FILL, job, stripes)
    assert quarantine.count(connection, job) == 0
    assert counted(connection, job) == (0, 0)


def test_the_key_of_a_row_is_kept_in_its_parts(target: Target, connection: Connection) -> None:
    COMPOSITE.create(connection)
    for number in range(30):
        COMPOSITE.insert(connection, number, kind="House", state="open")
    do_until(target, connection, COMPOSITE.plan, "dual-write")
    connection.execute(
        "ALTER TABLE elsewhere.things ADD CHECK (code <> 'part 3' OR kind_id IS NULL) NOT VALID"
    )
    fill = fill_of(COMPOSITE.plan, COMPOSITE.table)
    job, stripes = new_job(connection, fill)
    assert balance(work_off(connection, fill, job, stripes)) == (30, 26, 0, 4)
    assert keys(connection, job) == {(str(place), "part 3") for place in range(4)}
    assert backfill.count_unfilled(connection, fill, job) == 0
    connection.execute("ALTER TABLE elsewhere.things DROP CONSTRAINT things_check")
    assert retry_row(connection, fill, job, ("2", "part 3"))
    assert COMPOSITE.count(connection, "t.kind_id IS NULL") == 3


def test_a_row_of_a_partition_is_found_again_by_its_key(
    target: Target, connection: Connection
) -> None:
    LISTED.create(connection)
    for number in range(30):
        LISTED.insert(connection, number, kind="House", state="open")
    do_until(target, connection, LISTED.plan, "dual-write")
    connection.execute(
        "ALTER TABLE things ADD CONSTRAINT far CHECK (\"Re gion\" <> 'it''s far'"
        " OR kind_id IS NULL) NOT VALID"
    )
    fill = fill_of(LISTED.plan, LISTED.table)
    job, stripes = new_job(connection, fill)
    assert balance(work_off(connection, fill, job, stripes)) == (30, 20, 0, 10)
    connection.execute("BEGIN")
    first, *_ = quarantine.rows(connection, job)
    assert not retry_row(connection, fill, job, first.key)
    assert next(row for row in quarantine.rows(connection, job)).attempts == 2
    connection.execute("ALTER TABLE things DROP CONSTRAINT far")
    assert all(retry_row(connection, fill, job, key) for key in keys(connection, job))
    assert LISTED.count(connection, "t.kind_id IS NULL") == 0


def test_more_poison_rows_than_may_be_stop_the_job_and_say_what_to_do(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    raises(connection, "new.id % 4 = 0")
    job, stripes = new_job(connection, FILL)
    with pytest.raises(TooManyPoisonRows, match=r"the limit is 50.* then retry"):
        work_off(connection, FILL, job, stripes)
    totals = lane_totals.totals(connection, job)
    assert 50 < totals.quarantined == quarantine.count(connection, job) <= 114
    assert totals.updated == 2_000 - unfilled(connection)
    assert not lanes.is_finished(connection, job)
    lanes.release(connection, Lane(job, 0, 1, "public", "things", 0, 0, 0, 0, 0))
    connection.execute("DROP TRIGGER picky ON things")
    totals = work_off(connection, FILL, job, stripes)
    assert totals.updated == 2_000 - quarantine.count(connection, job)
    assert totals.quarantined == quarantine.count(connection, job)
    # A row that its own update moved ahead of the scan was met once more.
    assert 0 <= totals.already_right < 100


def test_poison_rows_up_to_the_limit_do_not_stop_the_backfill(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    raises(connection, "new.id % 40 = 0")
    job, stripes = new_job(connection, FILL)
    totals = work_off(connection, FILL, job, stripes, most_poison_rows=50)
    assert (totals.updated, totals.quarantined) == (1_950, 50)
    assert 0 <= totals.already_right < 100


def test_a_poison_row_that_another_round_meets_is_counted_once(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 200)
    raises(connection, "new.id = 7")
    job, stripes = new_job(connection, FILL)
    work_off(connection, FILL, job, stripes)
    lanes.another_round(connection, job, FILL.table)
    totals = work_off(connection, FILL, job, stripes)
    assert totals.quarantined == quarantine.count(connection, job) == 1
    assert totals.updated == 199
    assert quarantine.rows(connection, job)[0].attempts == 2


def test_quarantined_rows_belong_to_one_job_alone(target: Target, connection: Connection) -> None:
    legacy_rows(target, connection, 200)
    raises(connection, "new.id = 7")
    job, stripes = new_job(connection, FILL)
    work_off(connection, FILL, job, stripes)
    other, _ = new_job(connection, FILL)
    assert quarantine.count(connection, other) == 0
    assert backfill.count_unfilled(connection, FILL, other) == 1
    quarantine.release(connection, job, ("7",))
    assert backfill.count_unfilled(connection, FILL, job) == 1


def test_a_batch_that_is_all_poison_is_left_as_soon_as_there_are_too_many(
    target: Target, connection: Connection
) -> None:
    """To halve it to its last row would take a while, and hold its rows."""
    legacy_rows(target, connection, 2_000)
    raises(connection, "true")
    job, _ = new_job(connection, FILL)
    working = worker(connection, FILL, stripes=1)
    with pytest.raises(TooManyPoisonRows):
        working.run_lane(claimed(connection, job), seconds=60)
    totals = lane_totals.totals(connection, job)
    assert 50 < totals.quarantined <= 50 + backfill.POISON_BATCH_SIZE


def test_a_range_in_which_rows_are_refused_is_followed_by_no_longer_one(
    target: Target, connection: Connection
) -> None:
    """The search for them takes a while, in which the lane stays where it is."""
    legacy_rows(target, connection, 2_000)
    raises(connection, "new.id % 10 = 3")
    job, _ = new_job(connection, FILL)
    connection.execute(
        "UPDATE rollout.lanes SET range_blocks = 1, range_end = next_block + 1 WHERE job = %s",
        [job],
    )
    totals = work_off(connection, FILL, job, 1, most_poison_rows=1_000)
    assert (totals.updated, totals.quarantined) == (1_800, 200)
    longest = "SELECT max(range_blocks) FROM rollout.lanes WHERE job = %s"
    assert connection.execute(longest, [job]).fetchone() == (1,)
