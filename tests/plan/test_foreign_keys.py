"""The foreign key of a partitioned table, which an older server gives to its partitions first."""

from dataclasses import replace

import pytest

from rollout import plan as r
from rollout.engine import ddl
from rollout.engine.control import NullControl
from rollout.engine.ddl import NotApplied, RowsInTheWay
from rollout.engine.target import Target
from rollout.plan.actions import Statement
from tests.engine.test_every_phase import schema_of
from tests.schemas import MakeScenario, Scenario, plan_of, table

# Partitions in two levels, one with a name that must be quoted.
EVENTS = """
CREATE TABLE event (id bigint NOT NULL, at date NOT NULL, kind text, PRIMARY KEY (id, at))
  PARTITION BY RANGE (at);
CREATE TABLE "Event 2024" PARTITION OF event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE event_rest PARTITION OF event DEFAULT PARTITION BY HASH (id);
CREATE TABLE event_even PARTITION OF event_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE event_odd PARTITION OF event_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO event SELECT g, '2024-01-01'::date + g, (ARRAY['view', 'click'])[1 + g % 2]
  FROM generate_series(1, 500) g;
"""
EVENT = replace(
    table("event", key=("id", "at"), at=r.Column("date", null=False), kind="text"), partitioned=True
)
PLAN = plan_of(r.Lookup(table=EVENT, legacy="kind", column="kind_id", lookup_table="event_kinds"))
KEYS = """
SELECT k.conrelid::regclass::text, k.convalidated, p.conrelid::regclass::text
  FROM pg_constraint AS k LEFT JOIN pg_constraint AS p ON p.oid = k.conparentid
 WHERE k.contype = 'f' AND k.confrelid = 'event_kinds'::regclass ORDER BY 1"""
ALL = [
    ('"Event 2024"', True, "event"),
    ("event", True, None),
    ("event_even", True, "event_rest"),
    ("event_odd", True, "event_rest"),
    ("event_rest", True, "event"),
]


def statements_of(events: Scenario) -> list[Statement]:
    """Those that the server runs."""
    (step,) = (s for s in events.plan.phases[3].steps if isinstance(s, r.AddForeignKey))
    version = events.connection.info.server_version
    actions = (a for a in events.plan.forward(step).actions if isinstance(a, Statement))
    return [action for action in actions if action.is_for(version)]


def apply(events: Scenario, statement: Statement) -> bool:
    return ddl.apply(events.connection, statement, NullControl())


def test_partitions_of_every_level_have_the_key_of_their_table_and_it_goes_with_the_rollback(
    scenario: MakeScenario, server: Target
) -> None:
    events = scenario(EVENTS, PLAN)
    before = schema_of(events.target)
    events.carry_out(0, 1, 2)
    assert events.failing(3) == []
    events.carry_out(3)
    assert events.application(KEYS) == ALL
    events.application("INSERT INTO event VALUES (501, '2030-01-01', 'view')")
    events.carry_out(4)
    events.take_back(4, 3)
    assert events.application(KEYS) == []
    events.take_back(2, 1, 0)
    assert schema_of(events.target) == before


def test_the_table_takes_over_the_keys_of_its_partitions_without_reading_a_row(
    scenario: MakeScenario, old: Target
) -> None:
    events = scenario(EVENTS, PLAN)
    events.carry_out(0, 1, 2)
    of_parts, validated, of_table = statements_of(events)
    for statement in (of_parts, validated):
        assert apply(events, statement)
    assert {parent for _, valid, parent in events.application(KEYS) if valid} == {None}
    # A row that breaks the rule would fail a scan.
    events.application(
        "SET session_replication_role = replica", "UPDATE event SET kind_id = -1 WHERE id = 7"
    )
    assert apply(events, of_table)
    assert events.application(KEYS) == ALL
    assert not apply(events, of_table)


def test_a_partition_that_is_made_meanwhile_gets_its_key_before_the_table(
    scenario: MakeScenario, old: Target
) -> None:
    events = scenario(EVENTS, PLAN)
    events.carry_out(0, 1, 2)
    of_parts, validated, of_table = statements_of(events)
    for statement in (of_parts, validated):
        apply(events, statement)
    events.application(
        "CREATE TABLE late PARTITION OF event FOR VALUES FROM ('2040-01-01') TO ('2041-01-01')",
        "INSERT INTO event VALUES (502, '2040-01-01', 'view')",
    )
    with pytest.raises(NotApplied):
        apply(events, of_table)
    assert ("event", True, None) not in events.application(KEYS)
    events.carry_out(3)
    assert ("late", True, "event") in events.application(KEYS)


def test_rows_that_break_the_key_of_a_partition_are_named_and_the_rollback_leaves_nothing(
    scenario: MakeScenario, old: Target
) -> None:
    events = scenario(EVENTS, PLAN)
    events.carry_out(0, 1, 2)
    events.application(
        "SET session_replication_role = replica", "UPDATE event SET kind_id = -1 WHERE id = 7"
    )
    of_parts, validated, _ = statements_of(events)
    apply(events, of_parts)
    with pytest.raises(RowsInTheWay, match="1 row of event has orphaned references"):
        apply(events, validated)
    assert len(events.application(KEYS)) == 3
    (step,) = (s for s in events.plan.phases[3].steps if isinstance(s, r.AddForeignKey))
    for action in events.plan.backward(step).actions:
        assert isinstance(action, Statement)
        apply(events, action)
    assert events.application(KEYS) == []
