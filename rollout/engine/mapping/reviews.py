"""What legacy texts there are, what each means or will mean, and which are new."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from heapq import nlargest
from typing import Any, NamedTuple

from psycopg import sql

from rollout.engine.mapping.decisions import Decision
from rollout.engine.mapping.texts import is_mapped, mapped_and_decided
from rollout.engine.target import Connection
from rollout.plan.mapping import DECISIONS, decisions_of, meaning
from rollout.plan.names import in_target, normal, tidy
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup


class Spelling(NamedTuple):
    """One exact legacy text. ``rows`` is None where counting them took too long.

    ``at`` is when the mapping learnt of it; None before there is a mapping.
    """

    text: str
    rows: int | None
    why: str
    at: datetime | None = None


@dataclass
class Value:
    """The spellings of one normal form and the lookup row that they mean, or will mean."""

    normal: str
    spellings: list[Spelling] = field(default_factory=list)
    name: str | None = None
    proposed: str | None = None
    """The row that it would get if it became what it says; None where it is too long for a name."""
    reviewer: str = ""
    decided_at: datetime | None = None
    is_new: bool = False
    """Whether ``new_texts`` counts it."""

    @property
    def text(self) -> str:
        """The most frequent spelling."""
        return self.spellings[0].text if self.spellings else self.normal

    @cached_property
    def rows(self) -> int | None:
        """Rows of the counted spellings; None if no spelling was counted."""
        counts = [spelling.rows for spelling in self.spellings if spelling.rows is not None]
        return sum(counts) if counts or not self.spellings else None

    @property
    def why(self) -> str:
        return self.spellings[0].why if self.spellings else "decided"

    @property
    def at(self) -> datetime | None:
        """When its first spelling came."""
        return min((s.at for s in self.spellings if s.at is not None), default=None)

    @property
    def is_unused(self) -> bool:
        """Whether it has a lookup row, and no row of the table has any of its texts."""
        is_counted = all(spelling.rows == 0 for spelling in self.spellings)
        return self.name is not None and is_counted and self.normal != ""

    @property
    def is_unmapped(self) -> bool:
        """Whether nothing says what one of its spellings becomes."""
        return any(spelling.why == "unmapped" for spelling in self.spellings)

    @property
    def confirmed(self) -> Decision | None:
        """What it means already, or will, as a decision; None if there is nothing to confirm."""
        if not self.normal:
            return None
        if self.name is None and self.is_unmapped:
            return Decision(self.proposed) if self.proposed else None
        return Decision(self.name)


@dataclass(frozen=True)
class Review:
    """What a lookup's texts mean now. ``mapped`` says whether phase 2 has mapped them already.

    ``names`` are those of the lookup rows in use, there or to come; ``counted`` is false where
    counting took too long and no audit tells the numbers: of the texts that no mapping knows those
    of a sample are among the values then.
    """

    values: list[Value]
    names: list[str]
    mapped: bool
    counted: bool

    @cached_property
    def texts(self) -> int:
        return sum(len(value.spellings) for value in self.values)

    @cached_property
    def rows(self) -> int:
        return sum(value.rows or 0 for value in self.values)

    @cached_property
    def open(self) -> list[Value]:
        """The values that nobody has decided on; blank ones are for the plan to decide."""
        return [value for value in self.values if value.normal and not value.reviewer]

    @cached_property
    def reviewed(self) -> int:
        return sum(bool(value.reviewer) for value in self.values)

    @property
    def reviewable(self) -> int:
        return self.reviewed + len(self.open)

    @cached_property
    def unused(self) -> int:
        """How many values no row has: the row of a new text stays where its insert came to nothing,
        as by ON CONFLICT DO NOTHING."""
        return sum(value.is_unused for value in self.values)

    @cached_property
    def rows_of_names(self) -> dict[str, int]:
        """How many rows have each name, or will have it."""
        rows = dict.fromkeys(self.names, 0)
        for value in self.values:
            if value.name is not None:
                rows[value.name] = rows.get(value.name, 0) + (value.rows or 0)
        return rows

    def most_used(self, most: int) -> list[str]:
        """The names that most rows have, sorted; all of them if there are at most ``most``."""
        if len(self.names) <= most:
            return self.names
        used = set(nlargest(most, self.names, key=lambda name: self.rows_of_names[name]))
        return [name for name in self.names if name in used]


@dataclass(frozen=True)
class NewText:
    """The newest spelling of a normal form that the application wrote after the values were mapped.

    ``name`` is that of its lookup row, None where it has none.
    """

    text: str
    name: str | None
    why: str
    at: datetime


def review(
    connection: Connection,
    plan: Plan,
    lookup: Lookup,
    counts: dict[str, int] | None,
    *,
    counted_at: datetime | None = None,
    texts: Sequence[str] = (),
) -> Review:
    """What every distinct text of the legacy column means, or will mean once phase 2 maps it.

    ``counts`` says how many rows have each text, None where that is not known. With ``counted_at``
    they were counted then: of a text that the mapping learnt of later no number is known.
    ``texts`` are some that rows have, for where ``counts`` is None.
    """
    mapped, decided = mapped_and_decided(connection, plan, lookup)
    values: dict[str, Value] = {}
    spellings = _spellings(
        *(connection, plan, lookup, counts, counted_at, texts),
        mapped=mapped,
        decided=decided,
    )
    for spelling in spellings if mapped else _as_they_will_be(spellings):
        value = values.get(spelling.normal)
        if value is None:
            value = values[spelling.normal] = Value(normal=spelling.normal)
        value.spellings.append(spelling.spelling)
        value.name = spelling.name if value.name is None else value.name
        value.proposed = spelling.proposed or value.proposed
        value.reviewer, value.decided_at = spelling.reviewer, spelling.decided_at
        value.is_new = value.is_new or spelling.is_new
    for value in values.values():
        if len(value.spellings) > 1:
            value.spellings.sort(key=lambda s: (-(s.rows or 0), s.text))
    ordered = sorted(values.values(), key=lambda v: (-(v.rows or 0), v.normal))
    names = {value.name for value in ordered if value.name is not None}
    if mapped:
        rows = connection.execute(
            sql.SQL("SELECT l.name FROM {} AS l WHERE l.active").format(lookup.lookup_sql)
        )
        names |= {name for (name,) in rows}
    return Review(ordered, sorted(names, key=str.casefold), mapped, counts is not None)


def version_of(connection: Connection, plan: Plan, lookup: Lookup) -> tuple[object, ...]:
    """Another one whenever the mapping, its lookup rows or people's decisions have changed."""
    parts = []
    mapped_now, decided_now = mapped_and_decided(connection, plan, lookup)
    if mapped_now:
        mapped, named = in_target(lookup.mapping_name(plan.name)), lookup.lookup_sql
        parts.append(sql.SQL("SELECT legacy, lookup_id::text, why, at FROM {}").format(mapped))
        parts.append(sql.SQL("SELECT name, id::text, active::text, NULL FROM {}").format(named))
    if decided_now:
        parts.append(
            sql.SQL("SELECT d.normal, d.name, d.reviewer, d.at FROM {} AS d WHERE {}").format(
                DECISIONS, decisions_of(lookup, plan.name, "d")
            )
        )
    return tuple(
        connection.execute(
            sql.SQL(
                "SELECT count(*), sum(hash_record_extended(r, 0)::numeric) FROM ({}) AS r"
            ).format(part)
        ).fetchone()
        for part in parts
    )


def new_texts(
    connection: Connection, plan: Plan, lookup: Lookup, *, most: int = 20
) -> tuple[int, list[NewText]] | None:
    """Values that came after the others were mapped and that nobody has decided on.

    How many there are, and the newest; None where nothing is mapped yet. Spellings of one normal
    form are one. Reads the mapping alone, so it may be asked often.
    """
    if not is_mapped(connection, plan, lookup):
        return None
    rows = connection.execute(
        sql.SQL(
            "SELECT count(*) OVER (), m.legacy, l.name, m.why, m.at FROM ("
            "  SELECT DISTINCT ON (k.normal) k.* FROM {known} AS k WHERE k.is_new"
            "  ORDER BY k.normal, k.at DESC, k.legacy) AS m"
            " LEFT JOIN {lookup} AS l ON l.id = m.lookup_id"
            " ORDER BY m.at DESC, m.legacy LIMIT %s"
        ).format(known=_known(lookup, plan), lookup=lookup.lookup_sql),
        [most],
    ).fetchall()
    return (rows[0][0] if rows else 0), [NewText(*row[1:]) for row in rows]


def _known(lookup: Lookup, plan: Plan) -> sql.Composed:
    """A FROM item: the mapping, and whether a text is new and nobody has decided on it.

    Another spelling of what was there is nothing new.
    """
    return sql.SQL(
        "(SELECT m.*, m.why NOT IN ('decided', 'no_value') AND m.normal <> ''"
        " AND min(m.at) OVER (PARTITION BY m.normal) > min(m.at) OVER () AS is_new FROM {} AS m)"
    ).format(in_target(lookup.mapping_name(plan.name)))


_NO_NAMES = sql.SQL("(SELECT NULL::integer AS id, NULL::text AS name WHERE false)")
# A FROM item: texts that no mapping knows.
_UNKNOWN = sql.SQL(
    "unnest(%s::text[]) AS d (legacy) LEFT JOIN (SELECT NULL::text AS legacy, NULL::text AS normal,"
    " NULL::integer AS lookup_id, NULL::text AS why, NULL::timestamptz AS at,"
    " NULL::boolean AS is_new) AS m ON false"
)


class _Row(NamedTuple):
    normal: str
    name: str | None
    proposed: str | None
    named: str | None
    """The name's normal form."""
    tidy: str | None
    """None of a text that the mapping knows."""
    spelling: Spelling
    reviewer: str
    decided_at: datetime | None
    is_new: bool


def _spellings(
    connection: Connection,
    plan: Plan,
    lookup: Lookup,
    counts: dict[str, int] | None,
    counted_at: datetime | None,
    texts: Sequence[str],
    *,
    mapped: bool,
    decided: bool,
) -> list[_Row]:
    """Every text that rows have, and every one that the mapping knows, whether or not rows do."""
    text = sql.Identifier("d", "legacy")
    decisions: sql.Composable = sql.SQL(
        "(SELECT NULL::text AS normal, NULL::text AS reviewer, NULL::timestamptz AS at WHERE false)"
    )
    if decided:
        decisions = sql.SQL("(SELECT * FROM {} AS d WHERE {})").format(
            DECISIONS, decisions_of(lookup, plan.name, "d")
        )

    def asked(source: sql.Composable, *parameters: object) -> list[tuple[Any, ...]]:
        """What there is to say of texts ``d``, each with its row ``m`` of the mapping."""
        return connection.execute(
            sql.SQL(
                "SELECT d.legacy, {form}, CASE WHEN m.legacy IS NULL THEN {tidy} END,"
                " m.at, m.legacy IS NOT NULL, l.name, m.why,"
                " CASE WHEN length(says.name) <= %s THEN says.name END, {named_form}, says.why,"
                " people.reviewer, people.at, coalesce(m.is_new, false)"
                " FROM {source} LEFT JOIN {named} AS l ON l.id = m.lookup_id"
                " LEFT JOIN {decisions} AS people ON people.normal = {form}"
                # What is mapped means what its mapping says.
                " LEFT JOIN LATERAL (SELECT * FROM ({meaning}) AS says"
                "  WHERE m.legacy IS NULL OR m.why = 'unmapped') AS says ON true"
            ).format(
                # The mapping has the normal form of each text that it knows.
                form=sql.SQL("coalesce(m.normal, {})").format(normal(text)),
                tidy=tidy(text),
                named_form=normal(sql.Identifier("says", "name")),
                source=source,
                named=lookup.lookup_sql if mapped else _NO_NAMES,
                decisions=decisions,
                meaning=meaning(lookup, plan.name, text, decided=decided),
            ),
            [lookup.longest, *parameters],
        ).fetchall()

    known_rows = dict.fromkeys(texts, 0) if counts is None else counts
    rows: list[tuple[Any, ...]] = []
    if mapped:
        rows = asked(
            sql.SQL("{} AS m CROSS JOIN LATERAL (SELECT m.legacy) AS d").format(
                _known(lookup, plan)
            )
        )
    known = {row[0] for row in rows}
    if unknown := [legacy for legacy in known_rows if legacy not in known]:
        rows += asked(_UNKNOWN, unknown)
    spellings = []
    for row in rows:
        legacy, form, neat, at, is_known, row_name, why, meant, named_as, says = row[:10]
        reviewer, decided_at, is_new = row[10:]
        if counts is not None and form == "" and legacy not in counts:
            continue
        name, reason = meant, says or ""
        if mapped:
            name, reason = (row_name, why) if is_known else (None, "unmapped")
        since = counted_at is not None and at is not None and at > counted_at
        number = None
        if counts is not None and (legacy in counts or not since):
            number = counts.get(legacy, 0)
        spelling = Spelling(legacy, number, reason, at)
        people = (reviewer or "", decided_at, is_new)
        spellings.append(_Row(form, name, meant, named_as, neat, spelling, *people))
    return spellings


def _as_they_will_be(spellings: Sequence[_Row]) -> list[_Row]:
    """Before there is a mapping: rows are named as ``add_missing`` will name them, and why."""
    weights: dict[str, dict[tuple[bool, str], int]] = defaultdict(lambda: defaultdict(int))
    for spelling in spellings:
        if spelling.named and spelling.name is not None:
            weights[spelling.named][not spelling.spelling.why, spelling.name] += (
                spelling.spelling.rows or 0
            )
    named = []
    for spelling in spellings:
        name = None
        if spelling.named and spelling.name is not None:
            options = weights[spelling.named]
            # What somebody decided or the plan says first, then the most frequent.
            name = min(options, key=lambda option: (option[0], -options[option], option[1]))[1]
        text = spelling.spelling
        why = text.why or _why(spelling, name)
        known = Spelling(text.text, text.rows, why, text.at)
        named.append(spelling._replace(name=name, spelling=known))
    return named


def _why(spelling: _Row, name: str | None) -> str:
    if spelling.normal == "":
        return "blank"
    if name is None:
        return "unmapped"
    if spelling.spelling.text == name:
        return "exact"
    return "trimmed" if spelling.tidy == name else "case"
