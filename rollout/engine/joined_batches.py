"""Which batches of a fill read the whole of the tables that they join: while these are small."""

from dataclasses import dataclass

from psycopg import sql

from rollout.engine.target import Connection
from rollout.plan.actions import Fill, Pass

# Rows of the tables for each row that a batch writes: to read one costs about a third of what it
# costs to look one up.
ROWS_PER_WRITTEN = 2
# So few are read in less time than the statement needs otherwise.
FEW_ROWS = 100
MAX_ROWS = 100_000


@dataclass
class JoinedBatches:
    """The pass ``fill`` by joins, if it has them, and how many rows its tables have."""

    fill: Fill | None = None
    rows: int = 0
    written: int = 0
    """Rows that the batch before wrote."""

    @property
    def next(self) -> Fill | None:
        """The pass that writes the next batch by joins, if it does."""
        most = max(FEW_ROWS, ROWS_PER_WRITTEN * self.written)
        return self.fill if self.rows <= most else None


def joined_batches(connection: Connection, action: Pass) -> JoinedBatches:
    if not isinstance(action, Fill) or action.joined is None:
        return JoinedBatches()
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM ({}) AS joined").format(
            sql.SQL(" UNION ALL ").join(
                sql.SQL("(SELECT FROM {} LIMIT {})").format(table, sql.Literal(MAX_ROWS))
                for table in action.reads_whole
            )
        )
    ).fetchone()
    return JoinedBatches(action.joined, row[0] if row else 0)
