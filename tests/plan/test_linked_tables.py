"""The lock forecast lists tables outside the plan that foreign keys connect with its columns."""

from rollout import plan as r
from rollout.engine import ddl
from rollout.engine.control import NullControl
from rollout.engine.preflight import forecast_locks
from rollout.engine.target import Target
from rollout.plan.actions import Statement
from tests.plan.partitioned_shops import OF_TICKETS, TICKETS
from tests.plan.test_carried_objects import PARTS, PLAN
from tests.plan.test_wide_keys import widening
from tests.schemas import MakeScenario, Scenario, plan_of, table

OTHERS = {"kind", "used"}
# Of the twins that are made and validated, and of the swap.
TWINS_AND_SWAP = {
    *(("SHARE ROW EXCLUSIVE", label) for label in OTHERS),
    ("ROW SHARE", "kind"),
    ("SHARE UPDATE EXCLUSIVE", "used"),
    *(("ACCESS EXCLUSIVE", label) for label in OTHERS),
}
HELD = """
SELECT DISTINCT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid()
   AND locktype = 'relation' AND relation::regclass::text IN ('kind', 'used')
   AND mode = 'AccessExclusiveLock'
"""


def locks_of(
    scenario: Scenario, phase: int, step: str, *, forward: bool = True
) -> set[tuple[str, str]]:
    """What a step locks besides the tables of the plan."""
    locks = forecast_locks(scenario.target, scenario.plan, phase, forward=forward)
    own = {table.label for table in scenario.plan.tables}
    return {
        (lock.mode.value, label)
        for lock in locks
        if lock.step == step
        for label in lock.tables
        if label not in own
    }


def test_a_swap_locks_what_its_columns_refer_to_and_what_refers_to_them(
    scenario: MakeScenario, server: Target
) -> None:
    parts = scenario(PARTS, PLAN)
    parts.carry_out(0, 1, 2)
    assert locks_of(parts, 3, "cut-over-part") == TWINS_AND_SWAP
    with parts.target.connect() as reader, reader.transaction():
        reader.execute("SET application_name = 'reports'")
        reader.execute("SELECT FROM used")
        # An autovacuum may be in the way besides.
        waiting = {
            lock.mode.value
            for lock in forecast_locks(parts.target, parts.plan, 3)
            for session in lock.in_the_way
            if session.application == "reports"
        }
    assert waiting == {"ACCESS EXCLUSIVE"}
    *twins, swap = parts.plan.forward(parts.plan.step(3, "cut-over-part")).actions
    for twin in twins:
        assert isinstance(twin, Statement)
        ddl.apply(parts.connection, twin, NullControl())
    assert isinstance(swap, Statement)
    with parts.connection.transaction(force_rollback=True):
        parts.connection.execute(swap.sql)
        held = {label for (label,) in parts.connection.execute(HELD.encode()).fetchall()}
    assert held == OTHERS
    parts.carry_out(3)
    assert locks_of(parts, 3, "cut-over-part", forward=False) == TWINS_AND_SWAP
    assert locks_of(parts, 4, "drop-part") == set(), "its keys went along with the names"


# Of the same width already, so that the plan does not name it; of a partition, and to a partition.
OF_A_PARTITION = """
CREATE TABLE second_line (
  ticket bigint, day date, FOREIGN KEY (ticket, day) REFERENCES ticket_1);
CREATE TABLE subject (id bigint PRIMARY KEY);
ALTER TABLE "Ticket 2" ADD FOREIGN KEY (id) REFERENCES subject NOT VALID;
"""


def test_a_swap_locks_what_is_connected_with_one_partition_alone(
    scenario: MakeScenario, server: Target
) -> None:
    shop = scenario(TICKETS + OF_A_PARTITION, widening(OF_TICKETS))
    shop.carry_out(0, 1, 2)
    connected = {"kind": "subject", "used": "second_line"}
    assert locks_of(shop, 3, "cut-over-ticket") == {
        (mode, connected[label]) for mode, label in TWINS_AND_SWAP
    }


PARCELS = """
CREATE SCHEMA "Mixed Case";
CREATE TABLE "Mixed Case"."Known (all)" (name text PRIMARY KEY);
CREATE TABLE parcel (
  id bigint PRIMARY KEY, status text REFERENCES "Mixed Case"."Known (all)", remark text);
INSERT INTO "Mixed Case"."Known (all)" VALUES ('open'), ('sent');
INSERT INTO parcel SELECT g, 'open' FROM generate_series(1, 20) g;
"""
PARCEL = table("parcel", status="text", remark="text")
STATUS = r.Lookup(table=PARCEL, legacy="status", column="status_id", lookup_table="parcel_statuses")


def test_a_dropped_column_locks_what_it_referred_to_and_its_rollback_too(
    scenario: MakeScenario, server: Target
) -> None:
    parcels = scenario(PARCELS, plan_of(STATUS))
    parcels.carry_out(0, 1, 2, 3)
    known = "Mixed Case.Known (all)"
    assert locks_of(parcels, 4, "drop-parcel") == {("ACCESS EXCLUSIVE", known)}
    parcels.carry_out(4)
    assert locks_of(parcels, 4, "drop-parcel", forward=False) == {
        ("SHARE ROW EXCLUSIVE", known),
        ("ROW SHARE", known),
    }
