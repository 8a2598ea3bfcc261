"""What a pair of a legacy and a new value is: no longer in use, ambiguous."""

from rollout.engine.target import Connection, Target
from tests.engine.actions import audit
from tests.engine.audit.filled_tables import filled
from tests.engine.samples import BIGINT, past_triggers

PLAN = BIGINT.plan

MAPPING = 'rollout."sample-bigint_things_kind_mapping"'


class TestLookupRows:
    def test_the_right_row_that_is_no_longer_in_use_is_inactive(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 6)
        connection.execute("UPDATE kinds SET active = false WHERE name = 'Flat'")
        result = audit(target, PLAN)
        assert result.categories["inactive"] == 2
        assert {m.actual for m in result.mismatches} == {"Flat"}

    def test_two_rows_for_one_normal_form_are_ambiguous(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 6)
        flat = BIGINT.lookup_id(connection, "Flat")
        connection.execute(
            f"UPDATE {MAPPING} SET lookup_id = {flat} WHERE legacy = ' house'".encode()
        )
        with past_triggers(connection):
            connection.execute(f"UPDATE things SET kind_id = {flat} WHERE kind = ' house'".encode())
        assert audit(target, PLAN).categories == {"ok": 2, "ambiguous": 4}
