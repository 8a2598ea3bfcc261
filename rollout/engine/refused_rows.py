"""The rows of a batch that an expression refuses: first the parts of a range that have such rows.

To ask of each row whether it raises takes about as long as to write it. So an expression is
evaluated over all rows of a few blocks at a time, where an error says that some row raises, and
only rows of such blocks are asked. Where most parts have such rows, every row is.
"""

from collections.abc import Sequence

from psycopg import sql

from rollout.engine.batches import Place, Range, places
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection
from rollout.plan.actions import Fill

PART_BLOCKS = 64
# The share of parts up to which they are looked for.
MAX_SHARE = 0.5


class RefusedRows:
    """What one worker knows of them."""

    def __init__(self) -> None:
        self._share = 0.0
        self._range: tuple[int, int, int] | None = None
        self._parts: Sequence[tuple[int, int]] = ()

    def of(
        self, connection: Connection, fill: Fill, lane: Lane, range_end: int, rows: Range
    ) -> list[Place]:
        """Those of one stripe of a range."""
        assert fill.refused is not None
        if fill.raises is None or self._share > MAX_SHARE:
            refused = places(connection, fill, lane, rows, fill.refused)
        else:
            refused = [
                place
                for part in self._raising(connection, fill, lane, range_end)
                for place in places(connection, fill, lane, rows.within(*part), fill.refused)
            ]
        parts = max(1, (range_end - lane.next_block) // PART_BLOCKS)
        self._share = len(refused) * rows.stripes / parts
        return refused

    def _raising(
        self, connection: Connection, fill: Fill, lane: Lane, range_end: int
    ) -> Sequence[tuple[int, int]]:
        """The parts in which some row raises, as they were at the range's first stripe.

        What raises since then makes its batch fail, and is looked for there.
        """
        own = (lane.number, lane.next_block, range_end)
        if self._range != own:
            self._range, self._parts = own, _parts(connection, fill, lane, range_end)
        return self._parts


def _parts(connection: Connection, fill: Fill, lane: Lane, range_end: int) -> list[tuple[int, int]]:
    query = sql.SQL("SELECT {} FROM {} AS t WHERE t.ctid >= '(").format(
        fill.raises or sql.SQL("NULL"), lane.identifier
    )
    return connection.execute(
        sql.SQL(
            "SELECT p.first, e.last FROM generate_series({begin}, {range_end} - 1, {blocks})"
            " AS p (first), LATERAL (SELECT least(p.first + {blocks}, {range_end})) AS e (last)"
            " WHERE rollout.raises({query} || p.first || ',0)'' AND t.ctid < ''(' || e.last"
            " || ',0)''')"
        ).format(
            begin=sql.Literal(lane.next_block),
            range_end=sql.Literal(range_end),
            blocks=sql.Literal(PART_BLOCKS),
            query=sql.Literal(query.as_string()),
        )
    ).fetchall()
