"""What partitions have of a dropped column comes back with it."""

from rollout.engine.preflight import forecast_locks
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.test_foreign_keys import ALL, EVENTS, KEYS, PLAN
from tests.schemas import MakeScenario

KNOWN = """
CREATE TABLE known (kind text PRIMARY KEY);
INSERT INTO known VALUES ('view'), ('click');
"""
OF_LEGACY = """
ALTER TABLE event ADD CONSTRAINT is_known FOREIGN KEY (kind) REFERENCES known ON UPDATE CASCADE;
COMMENT ON CONSTRAINT is_known ON event IS 'one of few';
"""


def test_the_key_of_a_dropped_column_comes_back_to_the_table_and_its_partitions(
    scenario: MakeScenario, server: Target
) -> None:
    events = scenario(KNOWN + EVENTS + OF_LEGACY, PLAN)
    before = schema_of(events.target)
    keys = KEYS.replace("event_kinds", "known")
    assert len(events.application(keys)) == len(ALL)
    events.carry_out(0, 1, 2, 3, 4)
    assert events.application(keys) == []
    locks = forecast_locks(events.target, PLAN, 4, forward=False)
    locked = {label for lock in locks for label in lock.tables}
    assert "known" in locked
    events.take_back(4)
    assert events.application(keys) == ALL
    events.take_back(3, 2, 1, 0)
    assert schema_of(events.target) == before
