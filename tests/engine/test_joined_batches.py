"""Batches that read tables of groups write what those write that look each row's group up."""

from dataclasses import replace
from typing import Literal

import pytest
from psycopg import sql

from rollout.engine import backfill, joined_batches, lanes, quarantine
from rollout.engine.joined_batches import FEW_ROWS, JoinedBatches
from rollout.engine.target import Target
from rollout.plan.actions import Fill
from rollout.plan.identities import groups_of
from rollout.plan.transition import fill
from rollout.plan.updates import Assignment
from tests.engine.actions import act, claimed, do_step, new_job, work_off
from tests.plan.test_extractions import AGENT, CONFLICTS, HOME, HOMES
from tests.schemas import MakeScenario, Scenario, plan_of

NO_VALUES = "UPDATE home SET agent_name = '', agent_phone = '', agent_email = '' WHERE id = 10;"
IDS = "SELECT id, agent_id FROM home ORDER BY id"
Way = Literal["joined", "looked_up"]
WAYS = pytest.mark.parametrize("way", ["joined", "looked_up"])


def before_the_fill(homes: Scenario) -> Fill:
    """Triggers, rows of the new table and its groups are there."""
    homes.carry_out(0, 1)
    dual_write, write_both, backfill_step, _ = homes.plan.phases[2].steps
    for step in (dual_write, write_both):
        do_step(homes.target, homes.connection, homes.plan, 2, step)
    for action in homes.plan.forward(backfill_step).actions:
        if isinstance(action, Fill):
            return action
        act(homes.target, homes.connection, homes.plan, 2, action)
    raise AssertionError("the step has no pass")


def choose(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few groups looked up one by one, as many are."""
    if way == "looked_up":
        monkeypatch.setattr(joined_batches, "FEW_ROWS", 0)
        monkeypatch.setattr(joined_batches, "ROWS_PER_WRITTEN", 0)


def by(way: Way, plain: Fill, monkeypatch: pytest.MonkeyPatch) -> Fill:
    """The pass of which every batch in any other way fails."""
    choose(way, monkeypatch)
    fails = Assignment("agent_id", sql.SQL("1 / (t.id * 0)"), unless=plain.assignments[0].unless)
    failing = replace(plain, assignments=(fails,))
    if way == "looked_up":
        return replace(failing, joined=failing)
    return replace(failing, looked_up=failing)


@WAYS
@pytest.mark.parametrize("conflicts", ["most_frequent", "each"])
def test_every_row_gets_the_id_that_it_is_to_have(
    scenario: MakeScenario,
    server: Target,
    monkeypatch: pytest.MonkeyPatch,
    conflicts: Literal["most_frequent", "each"],
    way: Way,
) -> None:
    extract = replace(AGENT, conflicts=conflicts)
    homes = scenario(HOMES + CONFLICTS + NO_VALUES, plan_of(extract))
    plain = before_the_fill(homes)
    connection = homes.connection
    with_groups = by(way, plain, monkeypatch)
    job, stripes = new_job(connection, with_groups)
    totals = work_off(connection, with_groups, job, stripes)
    assert (totals.scanned, totals.updated, totals.quarantined) == (40, 38, 0)
    assert backfill.count_unfilled(connection, plain, job) == 0
    assert homes.audit().mismatched == 0
    ids = homes.application(IDS)
    homes.application("SET session_replication_role = replica", "UPDATE home SET agent_id = NULL")
    looking_up = replace(plain, joined=None)
    job, stripes = new_job(connection, looking_up)
    work_off(connection, looking_up, job, stripes)
    assert homes.application(IDS) == ids


def test_a_row_whose_group_has_no_row_is_put_aside_in_the_next_round(
    scenario: MakeScenario, newest: Target
) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    plain = before_the_fill(homes)
    connection = homes.connection
    homes.application("DELETE FROM agent WHERE email = 'a1@x.test'")
    job, stripes = new_job(connection, plain)
    work_off(connection, plain, job, stripes)
    assert backfill.count_unfilled(connection, plain, job) == 8
    lanes.another_round(connection, job, plain.table)
    assert work_off(connection, plain, job, stripes).quarantined == 8
    reasons = {row.error for row in quarantine.rows(connection, job)}
    assert len(reasons) == 1
    assert "no row of agent has these values" in reasons.pop()


def test_many_groups_are_looked_up_one_by_one_and_none_that_are_not_all_there(
    scenario: MakeScenario, newest: Target
) -> None:
    homes = scenario(HOMES, plan_of(AGENT))
    plain = before_the_fill(homes)
    job, _ = new_job(homes.connection, plain)
    lane = claimed(homes.connection, job)
    groups = groups_of(AGENT).as_string()
    homes.connection.execute(
        f"INSERT INTO {groups} SELECT g, 1 FROM generate_series(1, {FEW_ROWS}) AS g".encode()
    )
    batches = joined_batches.joined_batches(homes.connection, plain, lane)
    assert batches == JoinedBatches(plain, FEW_ROWS + 6)
    assert batches.next is plain.looked_up
    batches.written = FEW_ROWS
    assert batches.next is plain.joined
    # What a later round is for, and a pass without groups.
    for of_lane, action in (
        (replace(lane, counting=False), plain),
        (lane, replace(plain, joined=None)),
    ):
        assert joined_batches.joined_batches(homes.connection, action, of_lane).next is None
    # As after a crash of the server.
    homes.connection.execute(f"TRUNCATE {groups}".encode())
    assert joined_batches.joined_batches(homes.connection, plain, lane).next is None
    homes.connection.execute(f"DROP TABLE {groups}".encode())
    assert joined_batches.joined_batches(homes.connection, plain, lane).next is None
    assert fill(homes.plan, HOME) == plain
