"""Integer keys: how much of their range is used up, and when they run out at the present rate.

The rate is read from the rows: a column whose times rise with the key tells when rows were made.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg import errors, sql

from rollout.engine.target import Connection
from rollout.plan.table import Table, label_sql

# The share of its range from which a key is worth a word.
NOTABLE_SHARE = 0.4
# Rows are looked at in so many places, from the oldest key to the newest.
_PLACES = 8
# A rate of less time would be that of an hour of the day.
SHORTEST = timedelta(days=1)
# Clocks differ: rows may be so far in the future.
_SKEW = timedelta(days=1)
FARTHEST = timedelta(days=100 * 365)

# Columns that a sequence fills or that are a primary key by themselves, with the largest number
# that both type and sequence allow. A bigint with a sequence of its own type never runs out.
_KEYS = """
WITH drawn AS (
  SELECT w.refobjid AS relation, w.refobjsubid AS attnum, w.objid AS sequence FROM pg_depend AS w
   WHERE w.classid = 'pg_class'::regclass AND w.refclassid = 'pg_class'::regclass
     AND w.deptype IN ('a', 'i')
  UNION
  SELECT f.adrelid, f.adnum, w.refobjid FROM pg_attrdef AS f JOIN pg_depend AS w
    ON w.classid = 'pg_attrdef'::regclass AND w.objid = f.oid
   AND w.refclassid = 'pg_class'::regclass
), numbers AS (
  SELECT relation, attnum, min(q.seqmax) AS last,
         max(CASE WHEN has_sequence_privilege(sequence, 'USAGE, SELECT')
             THEN pg_sequence_last_value(sequence) END) AS drawn
    FROM drawn JOIN pg_sequence AS q ON q.seqrelid = sequence AND q.seqincrement > 0
   GROUP BY relation, attnum
)
SELECT n.nspname, c.relname, c.relkind = 'p', a.attname, format_type(a.atttypid, NULL),
       t.last, s.drawn, now(),
       has_column_privilege(c.oid, a.attnum, 'SELECT') AND EXISTS (
         SELECT FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
           JOIN pg_am AS m ON m.oid = i.relam AND m.amname = 'btree'
          WHERE x.indrelid = c.oid AND x.indkey[0] = a.attnum AND x.indisvalid
            AND x.indpred IS NULL),
       ARRAY(SELECT d.attname::text FROM pg_attribute AS d
         WHERE d.attrelid = c.oid AND d.attnum > 0 AND NOT d.attisdropped AND d.attgenerated = ''
           AND d.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
           AND has_column_privilege(c.oid, d.attnum, 'SELECT') ORDER BY d.attnum LIMIT 8)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN (VALUES ('int2'::regtype, 32767), ('int4', 2147483647), ('int8', 9223372036854775807))
    AS y (type, last) ON y.type = a.atttypid
  LEFT JOIN numbers AS s ON s.relation = c.oid AND s.attnum = a.attnum
  CROSS JOIN LATERAL (SELECT least(y.last, s.last) AS last) AS t
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'rollout')
   AND t.last < 9223372036854775807
   AND (s.relation IS NOT NULL OR EXISTS (SELECT FROM pg_index AS x WHERE x.indrelid = c.oid
     AND x.indisprimary AND x.indnkeyatts = 1 AND x.indkey[0] = a.attnum))
   AND (%(labels)s::text[] IS NULL OR {label} = ANY (%(labels)s))
 ORDER BY 1, 2, 4
""".replace("{label}", label_sql())


@dataclass(frozen=True)
class Rate:
    """How fast keys are drawn, by a column that tells when rows were made, or by the sequence."""

    per_day: float
    since: datetime
    column: str
    """What tells it."""


@dataclass(frozen=True)
class IntegerKey:
    """A column that numbers rows, and how much of its range is used up."""

    table: Table
    column: str
    type: str
    last: int
    """The largest number that its type and its sequence allow."""
    used: int
    """The largest that a row has or that its sequence has given."""
    rate: Rate | None
    at: datetime
    """When it was read."""
    is_read: bool = True
    """Whether how much is used is known, from its rows or its sequence."""

    @property
    def name(self) -> str:
        return f"{self.table.label}.{self.column}"

    @property
    def share(self) -> float:
        return self.used / self.last

    @property
    def is_notable(self) -> bool:
        return self.share > NOTABLE_SHARE

    @property
    def left(self) -> timedelta | None:
        """The time until it runs out; None where the rate is unknown."""
        if self.used >= self.last:
            return timedelta()
        if self.rate is None:
            return None
        if self.rate.per_day <= 0:
            return FARTHEST
        days = (self.last - self.used) / self.rate.per_day
        return timedelta(days=min(days, FARTHEST.days))

    @property
    def usage(self) -> str:
        return f"{self.used:,} of {self.last:,} ({math.floor(100 * self.share)} %)"

    @property
    def sentences(self) -> str:
        """How much is used, and when it runs out."""
        if not self.is_read:
            return (
                f"How much {self.name} has used is unknown: no index begins with it, the role may "
                "not read it, or reading took too long."
            )
        return f"{self.name} has used {self.usage}. {self._forecast}"

    @property
    def _forecast(self) -> str:
        if self.used >= self.last:
            return "It is used up."
        if self.rate is None or self.left is None:
            return (
                "When it runs out is unknown: no column of the table tells, over a day or more, "
                "when rows were made."
            )
        by = (
            f"{self.rate.per_day:,.0f} a day since {self.rate.since:%Y-%m-%d} by {self.rate.column}"
        )
        if self.left == FARTHEST:
            return f"At the present rate, {by}, it lasts for more than 100 years."
        days = self.left.days
        return (
            f"At the present rate, {by}, it runs out in {days:,} day{'' if days == 1 else 's'}, "
            f"on {self.at + self.left:%Y-%m-%d}."
        )


def read(connection: Connection, labels: Sequence[str] | None = None) -> list[IntegerKey]:
    """The integer keys of the tables of such labels, or of all; the most used ones come first.

    Raises psycopg.Error.
    """
    rows = connection.execute(
        _KEYS.encode(), {"labels": None if labels is None else list(labels)}
    ).fetchall()
    keys = [_key(connection, *row) for row in rows]
    return sorted(keys, key=lambda key: (-key.share, key.name))


def _key(
    connection: Connection,
    schema: str,
    name: str,
    partitioned: bool,
    column: str,
    type_: str,
    last: int,
    drawn: int | None,
    at: datetime,
    is_indexed: bool,
    times: Sequence[str],
) -> IntegerKey:
    table = Table(name=name, schema=schema, key=(column,), columns={}, partitioned=partitioned)
    places: list[tuple[int, ...]] = []
    is_read = is_indexed or drawn is not None
    if is_indexed:
        try:
            with connection.transaction():
                places = _places(connection, table, column, times)
        except (errors.QueryCanceled, errors.LockNotAvailable):
            is_read = drawn is not None
    used = max(drawn or 0, places[-1][0] if places else 0)
    return IntegerKey(table, column, type_, last, used, _rate(places, times, at), at, is_read)


def _places(
    connection: Connection, table: Table, column: str, times: Iterable[str]
) -> list[tuple[int, ...]]:
    """Rows from the oldest key to the newest: the key, and the times in seconds since 1970.

    Each is found by the key's index.
    """
    key = sql.Identifier(column)
    values = sql.SQL(", ").join(
        [key, *(sql.SQL("extract(epoch FROM {})").format(sql.Identifier(time)) for time in times)]
    )
    return connection.execute(
        sql.SQL(
            "SELECT DISTINCT ON (1) r.* FROM (SELECT min({key})::numeric AS first,"
            " max({key})::numeric AS last FROM {table}) AS ends"
            " CROSS JOIN generate_series(0, {places}) AS n CROSS JOIN LATERAL ("
            "SELECT {values} FROM {table}"
            " WHERE {key} <= (first + (last - first) * n / {places})::bigint"
            " ORDER BY {key} DESC LIMIT 1) AS r ORDER BY 1"
        ).format(key=key, table=table.identifier, values=values, places=sql.Literal(_PLACES))
    ).fetchall()


def _rate(places: Sequence[tuple[int, ...]], times: Sequence[str], at: datetime) -> Rate | None:
    """The rate by the first column that tells it: that of the newest rows of a day or more."""
    now = at.timestamp()
    for n, column in enumerate(times, start=1):
        moments = [place[n] for place in places]
        if not _tell_when_rows_were_made(moments, now):
            continue
        for place in reversed(places[:-1]):
            seconds = now - float(place[n])
            if seconds >= SHORTEST.total_seconds():
                per_day = (places[-1][0] - place[0]) / seconds * 86_400
                return Rate(per_day, datetime.fromtimestamp(float(place[n]), UTC), column)
    return None


def _tell_when_rows_were_made(moments: Sequence[float | None], now: float) -> bool:
    """Whether times rise with the key, and none is unknown, before 1970 or to come."""
    known = [float(moment) for moment in moments if moment is not None]
    return (
        len(known) == len(moments) > 2
        and all(math.isfinite(moment) for moment in known)
        and known == sorted(known)
        and 0 < known[0] < known[-1] <= now + _SKEW.total_seconds()
    )
