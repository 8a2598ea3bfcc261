"""Batches that read the whole of small tables write what those write that look rows up."""

from dataclasses import replace
from typing import Literal

import pytest
from psycopg import sql

from rollout.engine import backfill, lanes, quarantine
from rollout.engine.joined_batches import FEW_ROWS, JoinedBatches, joined_batches
from rollout.engine.target import Target
from rollout.plan.actions import Fill
from rollout.plan.transition import fill
from rollout.plan.updates import Assignment
from tests.engine.actions import act, do_step, new_job, work_off
from tests.plan.test_extractions import AGENT, CONFLICTS, HOME, HOMES
from tests.schemas import MakeScenario, Scenario, plan_of

NO_VALUES = "UPDATE home SET agent_name = '', agent_phone = '', agent_email = '' WHERE id = 10;"
IDS = "SELECT id, agent_id FROM home ORDER BY id"


def before_the_fill(homes: Scenario) -> Fill:
    """Triggers and rows of the new table are there."""
    homes.carry_out(0, 1)
    dual_write, write_both, backfill_step, _ = homes.plan.phases[2].steps
    for step in (dual_write, write_both):
        do_step(homes.target, homes.connection, homes.plan, 2, step)
    rows, _ = homes.plan.forward(backfill_step).actions
    act(homes.target, homes.connection, homes.plan, 2, rows)
    return fill(homes.plan, HOME)


@pytest.mark.parametrize("conflicts", ["most_frequent", "each"])
def test_every_row_gets_the_id_that_it_is_to_have(
    scenario: MakeScenario, server: Target, conflicts: Literal["most_frequent", "each"]
) -> None:
    extract = replace(AGENT, conflicts=conflicts)
    homes = scenario(HOMES + CONFLICTS + NO_VALUES, plan_of(extract))
    plain = before_the_fill(homes)
    connection = homes.connection
    # A batch that looks anything up fails.
    fails = Assignment("agent_id", sql.SQL("1 / (t.id * 0)"), unless=plain.assignments[0].unless)
    by_joins = replace(plain, assignments=(fails,))
    job, stripes = new_job(connection, by_joins)
    totals = work_off(connection, by_joins, job, stripes)
    assert (totals.scanned, totals.updated, totals.quarantined) == (40, 38, 0)
    assert backfill.count_unfilled(connection, plain, job) == 0
    assert homes.audit().mismatched == 0
    joined = homes.application(IDS)
    homes.application("SET session_replication_role = replica", "UPDATE home SET agent_id = NULL")
    looking_up = replace(plain, joined=None)
    job, stripes = new_job(connection, looking_up)
    work_off(connection, looking_up, job, stripes)
    assert homes.application(IDS) == joined


def test_a_row_whose_group_has_no_row_is_put_aside_in_the_next_round(
    scenario: MakeScenario, newest: Target
) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    plain = before_the_fill(homes)
    connection = homes.connection
    homes.application("DELETE FROM agent WHERE email = 'a1@x.test'")
    job, stripes = new_job(connection, plain)
    assert work_off(connection, plain, job, stripes).updated == 32
    assert backfill.count_unfilled(connection, plain, job) == 8
    lanes.another_round(connection, job, plain.table)
    assert work_off(connection, plain, job, stripes).quarantined == 8
    reasons = {row.error for row in quarantine.rows(connection, job)}
    assert len(reasons) == 1
    assert "no row of agent has these values" in reasons.pop()


def test_large_tables_are_looked_up_in(scenario: MakeScenario, newest: Target) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    homes.carry_out(0, 1)
    plain = fill(homes.plan, HOME)
    many = f"INSERT INTO agent (email) SELECT g || '@y' FROM generate_series(1, {FEW_ROWS + 1}) g"
    homes.connection.execute(many.encode())
    joined = joined_batches(homes.connection, plain)
    assert joined == JoinedBatches(plain.joined, FEW_ROWS + 1)
    assert joined.next is None
    joined.written = FEW_ROWS
    assert joined.next == plain.joined
    assert joined_batches(homes.connection, replace(plain, joined=None)).next is None
