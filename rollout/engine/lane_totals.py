"""A job's counters: those of its lanes, added up."""

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from rollout.engine.target import Connection, fetch_bool
from rollout.engine.typed_queries import Query


@dataclass(frozen=True)
class Totals:
    """The counters of a job's lanes, added up, of what is committed.

    ``fraction`` is of blocks, from 0 to 1; a stripe counts for its share of its range's.

    scanned = updated + already right + quarantined, each row once: as it was when the job began, or
    when it came to quarantine. ``rewritten`` rows are others, or the same once more: somebody wrote
    them since, and not as the job has them, so that it wrote them too.
    """

    scanned: int
    updated: int
    quarantined: int
    rewritten: int
    working_seconds: float
    fraction: float
    round: int
    holders: tuple[str, ...]
    exact: int = 0
    fingerprint: int = 0
    """In a proof: the rows compared to the letter, and the sum of all rows' prints."""

    @property
    def already_right(self) -> int:
        # Rows of a range that is searched for poison are counted as scanned when it is done.
        return max(0, self.scanned - self.updated - self.quarantined)


def totals(connection: Connection, job: int) -> Totals:
    """Add up a job's lanes. A job without lanes has done nothing yet."""
    query = sql.SQL("{} WHERE job = {}").format(_SUMS, sql.Literal(job))
    return Query(query, lambda rows: _totals(rows[0])).ask(connection)


def totals_by_job(connection: Connection) -> dict[int, Totals]:
    """The same for every job that has lanes, in one query; none before the engine is installed."""
    if not fetch_bool(connection, sql.SQL("to_regclass('rollout.lanes') IS NOT NULL")):
        return {}
    of_all = sql.SQL("{} GROUP BY job").format(_SUMS)
    return Query(of_all, lambda rows: {row["job"]: _totals(row) for row in rows}).ask(connection)


_SUMS = sql.SQL(
    """
    SELECT coalesce(greatest(sum(scanned), sum(updated) + sum(quarantined)), 0)::bigint AS scanned,
           coalesce(sum(updated), 0)::bigint AS updated,
           coalesce(sum(quarantined), 0)::bigint AS quarantined,
           coalesce(sum(rewritten), 0)::bigint AS rewritten,
           coalesce(sum(working_seconds), 0) AS working_seconds,
           coalesce(sum(next_block - first_block
                        + coalesce((range_end - next_block) * stripe::float
                                   / nullif(cardinality(stripe_rows), 0), 0))
                    / nullif(sum(end_block - first_block), 0),
                    count(*)::int::boolean::int) AS fraction,
           coalesce(max(round), 1) AS round,
           coalesce(sum(exact), 0)::bigint AS exact,
           coalesce(sum(fingerprint), 0) AS fingerprint,
           coalesce(array_agg(DISTINCT holder) FILTER (WHERE lease_until > now()), '{}') AS holders,
           max(job) AS job
      FROM rollout.lanes
    """
)


def _totals(row: dict[str, Any]) -> Totals:
    return Totals(
        scanned=row["scanned"],
        updated=row["updated"],
        quarantined=row["quarantined"],
        rewritten=row["rewritten"],
        working_seconds=float(row["working_seconds"]),
        fraction=float(row["fraction"]),
        round=row["round"],
        holders=tuple(row["holders"]),
        exact=row["exact"],
        fingerprint=int(row["fingerprint"]),
    )


def move_from_quarantine(connection: Connection, job: int, *, updated: bool) -> None:
    """Count a row that was in quarantine as updated, or as right without the job, where the job's
    lanes are still there."""
    connection.execute(
        "UPDATE rollout.lanes SET quarantined = quarantined - 1, updated = updated + %(updated)s"
        " WHERE job = %(job)s AND lane = (SELECT lane FROM rollout.lanes"
        " WHERE job = %(job)s AND quarantined > 0 ORDER BY lane LIMIT 1)",
        {"job": job, "updated": int(updated)},
    )
