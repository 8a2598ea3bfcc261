"""How much of a lookup's mapping people have reviewed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql

from rollout.engine.mapping.texts import mapped_and_decided
from rollout.engine.target import Connection
from rollout.plan.mapping import DECISIONS, decisions_of
from rollout.plan.names import in_target
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

_NO_DECISIONS = sql.SQL(
    "(SELECT NULL::text AS plan, NULL::text AS table_label, NULL::text AS legacy_column,"
    " NULL::text AS normal, NULL::timestamptz AS at WHERE false)"
)


@dataclass(frozen=True)
class ReviewCounts:
    """The values of a mapping by normal form, and how many of them people decided on.

    ``reviewed_at`` is when they did last. ``open`` values wait for a decision. ``new`` ones are
    open and came after the others were mapped; ``recent`` ones are new and came not long ago.
    """

    values: int
    reviewed: int
    reviewed_at: datetime | None
    new: int = 0
    recent: int = 0

    @property
    def open(self) -> int:
        return self.values - self.reviewed


def review_counts_of(
    connection: Connection, plan: Plan, lookup: Lookup, *, grace: timedelta = timedelta()
) -> ReviewCounts | None:
    """None where nothing is mapped yet. A new value is recent for as long as ``grace``.

    Blank texts are no values: nobody has to decide on them.
    """
    is_mapped, has_decisions = mapped_and_decided(connection, plan, lookup)
    if not is_mapped:
        return None
    row = connection.execute(
        sql.SQL(
            "SELECT count(*), count(d.normal), max(d.at),"
            " count(*) FILTER (WHERE d.normal IS NULL AND v.at > v.mapped_at),"
            " count(*) FILTER"
            " (WHERE d.normal IS NULL AND v.at > v.mapped_at AND v.at > clock_timestamp() - %s)"
            " FROM (SELECT m.normal, min(m.at) AS at, min(min(m.at)) OVER () AS mapped_at"
            "  FROM {mapping} AS m GROUP BY m.normal) AS v"
            " LEFT JOIN {decisions} AS d ON d.normal = v.normal AND {ours}"
            " WHERE v.normal <> ''"
        ).format(
            mapping=in_target(lookup.mapping_name(plan.name)),
            decisions=DECISIONS if has_decisions else _NO_DECISIONS,
            ours=decisions_of(lookup, plan.name, "d"),
        ),
        [grace],
    ).fetchone()
    assert row is not None
    return ReviewCounts(*row)
