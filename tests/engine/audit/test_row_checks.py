"""Each cell of an audit's crosstab leads to its rows."""

from rollout.engine.audit import MATCHED, keys_of_pair
from rollout.engine.target import Connection, Target
from tests.engine.actions import audit
from tests.engine.audit.filled_tables import filled
from tests.engine.samples import BIGINT, past_triggers

PLAN = BIGINT.plan


class TestCells:
    def test_each_cell_leads_to_as_many_rows_as_it_counts(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 30)
        connection.execute("UPDATE things SET kind = NULL WHERE id = 1")
        connection.execute("UPDATE things SET kind = 'it''s 100 %' WHERE id IN (2, 3)")
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = -1 WHERE id IN (4, 5, 6)")
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = NULL WHERE id = 7")
        result = audit(target, PLAN)
        for translation in result.translations:
            if translation.lookup_table:
                keys_of_cells = [
                    keys_of_pair(
                        *(connection, PLAN, BIGINT.table, translation.column),
                        *(cell.legacy, cell.new),
                        at_most=100,
                    )
                    for cell in translation.cells
                    if cell.category in MATCHED
                ]
                counts = [cell.rows for cell in translation.cells if cell.category in MATCHED]
                assert [len(keys) for keys in keys_of_cells] == counts
                assert len({key for keys in keys_of_cells for key in keys}) == sum(counts)
        pair = BIGINT.column("kind_id"), "House", "House"
        assert len(keys_of_pair(connection, PLAN, BIGINT.table, *pair, at_most=2)) == 2
