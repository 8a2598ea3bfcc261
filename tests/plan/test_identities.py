"""The table of an extraction's groups, which a fill reads instead of the new table."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import sql

from rollout.engine import backfill, lane_totals, lanes
from rollout.engine.target import Target
from rollout.plan.identities import groups_of
from tests.engine.actions import (
    do_step,
    new_job,
    undo_step,
    wait_until_somebody_waits,
    work_off,
)
from tests.engine.test_every_phase import schema_of
from tests.engine.test_joined_batches import WAYS, Way, before_the_fill, choose
from tests.plan.test_extractions import AGENT, HOMES
from tests.schemas import MakeScenario, plan_of


def test_a_row_that_is_looked_up_needs_no_row_of_the_new_table(
    scenario: MakeScenario, newest: Target
) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    plain = before_the_fill(homes)
    assert plain.looked_up is not None
    update = plain.looked_up.update(sql.SQL("true"))
    with homes.connection.transaction(force_rollback=True):
        homes.connection.execute("SET LOCAL enable_seqscan = off")
        explained = homes.connection.execute(
            sql.SQL("EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) {}").format(update)
        ).fetchall()
    lines = [line.strip() for (line,) in explained]
    (looked_up,) = (n for n, line in enumerate(lines) if "Index Only Scan" in line)
    assert groups_of(AGENT).as_string().split(".")[1].strip('"') in lines[looked_up]
    assert "loops=40" in lines[looked_up]
    assert "Heap Fetches: 0" in lines[looked_up : looked_up + 4]


@WAYS
def test_no_row_is_pointed_to_a_group_that_the_application_gave_another_key_meanwhile(
    scenario: MakeScenario, server: Target, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    plain = before_the_fill(homes)
    connection = homes.connection
    homes.application("UPDATE agent SET email = 'other@x.test' WHERE email = 'a1@x.test'")
    choose(way, monkeypatch)
    job, stripes = new_job(connection, plain)
    work_off(connection, plain, job, stripes)
    unfilled = "SELECT DISTINCT agent_email FROM home WHERE agent_id IS NULL"
    assert homes.application(unfilled) == [("a1@x.test",)]


@WAYS
def test_groups_of_one_hash_are_told_apart_by_the_sweep(
    scenario: MakeScenario, newest: Target, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    plain = before_the_fill(homes)
    connection = homes.connection
    choose(way, monkeypatch)
    groups = groups_of(AGENT).as_string()
    connection.execute(
        f"INSERT INTO {groups} SELECT identity, (SELECT id FROM agent WHERE email = 'a2@x.test')"
        f" FROM {groups} WHERE id = (SELECT id FROM agent WHERE email = 'a1@x.test')".encode()
    )
    job, stripes = new_job(connection, plain)
    work_off(connection, plain, job, stripes)
    if backfill.count_unfilled(connection, plain, job):
        lanes.another_round(connection, job, plain.table)
        work_off(connection, plain, job, stripes)
    totals = lane_totals.totals(connection, job)
    assert (totals.scanned, totals.quarantined) == (40, 0)
    assert backfill.count_unfilled(connection, plain, job) == 0
    assert homes.audit().mismatched == 0


def test_the_tables_of_groups_go_with_the_fill_and_with_its_rollback(
    scenario: MakeScenario, newest: Target
) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    before = schema_of(homes.target)
    there = f"SELECT to_regclass('{groups_of(AGENT).as_string()}') IS NOT NULL"
    before_the_fill(homes)
    assert homes.application(there) == [(True,)]
    step = homes.plan.phases[2].steps[2]
    undo_step(homes.target, homes.connection, homes.plan, 2, step)
    assert homes.application(there) == [(False,)]
    do_step(homes.target, homes.connection, homes.plan, 2, step)
    assert homes.application(there) == [(False,)]
    homes.take_back(2, 1, 0)
    assert schema_of(homes.target) == before


def test_the_application_writes_a_new_row_while_the_table_of_groups_goes(
    scenario: MakeScenario, server: Target
) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    before_the_fill(homes)
    rename = "UPDATE agent SET email = 'other@x.test' WHERE email = 'a1@x.test' RETURNING email"
    with ThreadPoolExecutor(1) as pool, homes.target.connect() as dropping:
        dropping.execute("BEGIN")
        dropping.execute(sql.SQL("DROP TABLE {}").format(groups_of(AGENT)))
        writing = pool.submit(homes.application, rename)
        wait_until_somebody_waits(homes.connection)
        dropping.execute("COMMIT")
        assert writing.result(60) == [("other@x.test",)]
