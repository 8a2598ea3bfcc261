"""How the batches of a fill read the tables of groups: as a whole while these are small."""

from dataclasses import dataclass

from psycopg import sql

from rollout.engine.lanes import Lane
from rollout.engine.target import Connection, fetch_bool
from rollout.plan.actions import Fill, Pass
from rollout.plan.identities import NO_VALUES

# Rows of the tables for each row that a batch writes: to read one costs about a sixth of what it
# costs to look one up.
ROWS_PER_WRITTEN = 6
# So few are read in less time than the statement needs otherwise.
FEW_ROWS = 100
MAX_ROWS = 1_000_000


@dataclass
class JoinedBatches:
    """The pass ``fill``, if its tables of groups are there, and how many rows these have."""

    fill: Fill | None = None
    rows: int = 0
    written: int = 0
    """Rows that the batch before wrote."""

    @property
    def reads_all(self) -> bool:
        """Whether the next batch is to read all of the tables."""
        return self.rows <= max(FEW_ROWS, ROWS_PER_WRITTEN * self.written)

    @property
    def next(self) -> Fill | None:
        """The pass that writes the next batch by these tables, if they are there."""
        if self.fill is None:
            return None
        return self.fill.joined if self.reads_all else self.fill.looked_up


def joined_batches(connection: Connection, action: Pass, lane: Lane) -> JoinedBatches:
    """What the tables of a lane's pass are like. A later round is for what the first one left."""
    if not lane.counting or not isinstance(action, Fill) or action.joined is None:
        return JoinedBatches()
    rows = 0
    for table in action.groups:
        if not _is_whole(connection, table):
            return JoinedBatches()
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS groups").format(
                table, sql.Literal(MAX_ROWS)
            )
        ).fetchone()
        rows += row[0] if row else 0
    return JoinedBatches(action, rows)


def _is_whole(connection: Connection, table: sql.Identifier) -> bool:
    """Whether every group is there: the one of rows without values comes last."""
    there = sql.SQL("to_regclass({}) IS NOT NULL").format(sql.Literal(table.as_string()))
    return fetch_bool(connection, there) and fetch_bool(
        connection, sql.SQL("EXISTS (SELECT FROM {} WHERE identity = {})").format(table, NO_VALUES)
    )
