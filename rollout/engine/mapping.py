"""The review of a mapping: what legacy texts there are, what each means, and changing that.

Decisions are about normal forms: spellings that differ in case or white space alone go together.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from psycopg import errors, sql

from rollout.engine.target import Connection, ask, install
from rollout.plan import facts
from rollout.plan.mapping import DECISIONS, decisions_of, meaning, why_mapped
from rollout.plan.names import LONGEST_LOOKUP_VALUE, SCHEMA, in_target, normal, tidy
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

COUNT_SECONDS = 15
"""A page waits no longer for the table's texts to be counted."""
_LOCK_TIMEOUT = "1s"


class CannotDecide(Exception):
    """Decisions that cannot be carried out. ``problems`` says by normal form why."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


class Busy(Exception):
    """A transaction of the application holds the mapping: it wrote a text that is new there."""


@dataclass(frozen=True)
class Decision:
    """What a text becomes: the lookup row of a name, or no value. ``by_rule`` takes it back."""

    name: str | None = None
    by_rule: bool = False


@dataclass(frozen=True)
class Spelling:
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
    reviewer: str = ""
    decided_at: datetime | None = None
    is_new: bool = False
    """Whether it came after the values were mapped, and nobody has decided on it."""

    @property
    def text(self) -> str:
        """The most frequent spelling."""
        return self.spellings[0].text if self.spellings else self.normal

    @property
    def rows(self) -> int | None:
        counts = [spelling.rows for spelling in self.spellings]
        return None if None in counts else sum(n for n in counts if n is not None)

    @property
    def why(self) -> str:
        return self.spellings[0].why if self.spellings else "decided"

    @property
    def at(self) -> datetime | None:
        """When its first spelling came."""
        return min((s.at for s in self.spellings if s.at is not None), default=None)

    @property
    def is_unmapped(self) -> bool:
        return self.name is None and self.why == "unmapped"


@dataclass(frozen=True)
class Review:
    """What a lookup's texts mean now. ``mapped`` says whether phase 2 has mapped them already.

    ``names`` are those of the lookup rows in use, there or to come; ``counted`` is false where
    counting took too long, and then texts that no mapping knows are not among the values.
    """

    values: list[Value]
    names: list[str]
    mapped: bool
    counted: bool


@dataclass(frozen=True)
class Change:
    """One text that means another row than before. ``moved`` says whether rows must follow it.

    A lookup row that is only renamed moves nothing. ``rows`` is None where counting took too long.
    """

    legacy: str
    normal: str
    before: str | None
    after: str | None
    rows: int | None
    moved: bool


@dataclass(frozen=True)
class Outcome:
    """What decisions change. ``rows_affected`` counts filled rows that must follow; None: unknown.

    ``decided`` is how many normal forms have another decision than before, those included whose
    texts mean what they meant.
    """

    changes: list[Change]
    made: list[str]
    renamed: list[tuple[str, str]]
    retired: list[str]
    mapped: bool
    decided: int

    @property
    def rows_affected(self) -> int | None:
        if not self.mapped:
            return 0
        counts = [change.rows for change in self.changes if change.moved]
        return None if None in counts else sum(n for n in counts if n is not None)


@dataclass(frozen=True)
class NewText:
    """A text that the application wrote after the values were mapped."""

    text: str
    name: str | None
    why: str
    at: datetime


def is_mapped(connection: Connection, plan: Plan, lookup: Lookup) -> bool:
    return _exists(connection, lookup.mapping_name(plan.name))


def review(connection: Connection, plan: Plan, lookup: Lookup) -> Review:
    """What every distinct text of the legacy column means, or will mean once phase 2 maps it."""
    mapped = is_mapped(connection, plan, lookup)
    decided = _exists(connection, "decisions")
    values: dict[str, Value] = {}
    counts = _counts(connection, lookup, _EVERY_TEXT)
    spellings = _spellings(connection, plan, lookup, counts, mapped=mapped, decided=decided)
    for found in spellings if mapped else _as_they_will_be(spellings):
        value = values.setdefault(found.normal, Value(normal=found.normal))
        value.spellings.append(found.spelling)
        value.name = found.name
    for form, reviewer, at in _decisions(connection, plan, lookup) if decided else ():
        if form in values:
            values[form].reviewer, values[form].decided_at = reviewer, at
    first = min((value.at for value in values.values() if value.at is not None), default=None)
    for value in values.values():
        came = value.at
        value.is_new = bool(first and came and came > first and not value.reviewer)
        value.spellings.sort(key=lambda s: (-(s.rows or 0), s.text))
    ordered = sorted(values.values(), key=lambda v: (-(v.rows or 0), v.normal))
    names = {value.name for value in ordered if value.name is not None}
    if mapped:
        rows = connection.execute(
            sql.SQL("SELECT l.name FROM {} AS l WHERE l.active").format(lookup.lookup_sql)
        )
        names |= {name for (name,) in rows}
    return Review(ordered, sorted(names, key=str.casefold), mapped, counts is not None)


def new_texts(
    connection: Connection, plan: Plan, lookup: Lookup, *, most: int = 20
) -> tuple[int, list[NewText]]:
    """Texts that came after the values were mapped and that nobody has decided on.

    How many there are, and the newest. Reads the mapping alone, so it may be asked often.
    """
    if not is_mapped(connection, plan, lookup):
        return 0, []
    rows = connection.execute(
        sql.SQL(
            "SELECT count(*) OVER (), m.legacy, l.name, m.why, m.at FROM ("
            # Another spelling of what was there is nothing new.
            "  SELECT *, min(at) OVER (PARTITION BY normal) > min(at) OVER () AS is_new"
            "  FROM {mapping}) AS m LEFT JOIN {lookup} AS l ON l.id = m.lookup_id"
            " WHERE m.why NOT IN ('decided', 'no_value', 'synonym')"
            " AND (m.why = 'unmapped' OR (m.normal <> '' AND m.is_new))"
            " ORDER BY m.at DESC, m.legacy LIMIT %s"
        ).format(mapping=in_target(lookup.mapping_name(plan.name)), lookup=lookup.lookup_sql),
        [most],
    ).fetchall()
    return (rows[0][0] if rows else 0), [NewText(*row[1:]) for row in rows]


def decide(
    connection: Connection,
    plan: Plan,
    lookup: Lookup,
    decisions: Mapping[str, Decision],
    *,
    reviewer: str,
    keep: bool,
) -> Outcome:
    """Carry out decisions on texts, whatever their spelling, in one transaction.

    Without ``keep`` it is rolled back: what a preview tells is what would be. A lookup row whose
    texts all get one new name is renamed in place, so that no row of the table need be written.
    Raises CannotDecide, Busy and psycopg.Error.
    """
    install(connection)
    wanted = _checked(lookup, _by_form(connection, decisions))
    mapped = is_mapped(connection, plan, lookup)
    forms = list(wanted)
    counts = _counts(
        connection,
        lookup,
        sql.SQL("{} = ANY ({}::text[])").format(
            normal(sql.SQL("coalesce({}, '')").format(sql.Identifier(lookup.legacy))),
            sql.Literal(forms),
        ),
    )
    try:
        with connection.transaction(force_rollback=not keep):
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'".encode())
            # Two reviews at once come one after the other.
            connection.execute("LOCK TABLE rollout.decisions IN SHARE ROW EXCLUSIVE MODE")
            if mapped:
                # Nobody maps a text by the old decisions while the new ones are not committed.
                connection.execute(
                    sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(
                        in_target(lookup.mapping_name(plan.name))
                    )
                )
            return _Deciding(connection, plan, lookup, counts).carry_out(
                wanted, reviewer=reviewer, mapped=mapped
            )
    except errors.LockNotAvailable as error:
        raise Busy(
            "A transaction of the application holds the mapping, because it has just written a "
            "text that is new there. Nothing was changed. Try again in a moment."
        ) from error


class _Deciding:
    """Decisions being carried out, inside their transaction."""

    def __init__(
        self, connection: Connection, plan: Plan, lookup: Lookup, counts: dict[str, int] | None
    ) -> None:
        self.connection = connection
        self.plan = plan
        self.lookup = lookup
        self.counts = counts
        self.mapping = in_target(lookup.mapping_name(plan.name))
        self.of_lookup = decisions_of(lookup, plan.name, "d")

    def carry_out(self, wanted: Mapping[str, Decision], *, reviewer: str, mapped: bool) -> Outcome:
        forms = list(wanted)
        before = self._meanings(forms, mapped=mapped)
        decided = self._write_decisions(wanted, reviewer)
        self._refuse_foreign_names(wanted)
        made: list[str] = []
        renamed: list[tuple[str, str]] = []
        retired: list[str] = []
        if mapped:
            made, renamed = self._make_rows(forms, before)
            self._map_again(forms)
            retired = self._retire({row for row, _ in before.values() if row is not None})
        after = self._meanings(forms, mapped=mapped)
        changes = [
            Change(
                legacy=text,
                normal=form,
                before=before[text, form][1],
                after=name,
                rows=None if self.counts is None else self.counts.get(text, 0),
                moved=mapped and row != before[text, form][0],
            )
            for (text, form), (row, name) in after.items()
            if (row, name) != before[text, form]
        ]
        changes.sort(key=lambda c: (-(c.rows or 0), c.legacy))
        return Outcome(changes, made, renamed, retired, mapped, decided)

    def _meanings(
        self, forms: Sequence[str], *, mapped: bool
    ) -> dict[tuple[str, str], tuple[int | None, str | None]]:
        """The lookup row and its name by text and normal form; no row before there are any."""
        if mapped:
            rows = self.connection.execute(
                sql.SQL(
                    "SELECT m.legacy, m.normal, m.lookup_id, l.name FROM {} AS m"
                    " LEFT JOIN {} AS l ON l.id = m.lookup_id WHERE m.normal = ANY (%s)"
                ).format(self.mapping, self.lookup.lookup_sql),
                [list(forms)],
            ).fetchall()
        else:
            text = sql.Identifier("d", "legacy")
            rows = self.connection.execute(
                sql.SQL(
                    "SELECT d.legacy, {form}, NULL::integer, says.name"
                    " FROM unnest(%s::text[]) AS d (legacy) CROSS JOIN LATERAL ({meaning}) AS says"
                ).format(form=normal(text), meaning=meaning(self.lookup, self.plan.name, text)),
                [list(self.counts) if self.counts else list(forms)],
            ).fetchall()
        return {(text, form): (row, name) for text, form, row, name in rows}

    def _write_decisions(self, wanted: Mapping[str, Decision], reviewer: str) -> int:
        """How many normal forms have another decision now."""
        known: dict[str, str | None] = dict(
            self.connection.execute(
                sql.SQL(
                    "SELECT d.normal, d.name FROM {} AS d WHERE {} AND d.normal = ANY (%s)"
                ).format(DECISIONS, self.of_lookup),
                [list(wanted)],
            ).fetchall()
        )
        other = {
            form: decision
            for form, decision in wanted.items()
            if (form in known) == decision.by_rule or known.get(form) != decision.name
        }
        self.connection.execute(
            sql.SQL("DELETE FROM {} AS d WHERE {} AND d.normal = ANY (%s)").format(
                DECISIONS, self.of_lookup
            ),
            [list(other)],
        )
        kept = [(form, decision.name) for form, decision in other.items() if not decision.by_rule]
        self.connection.execute(
            sql.SQL(
                "INSERT INTO {} (plan, table_label, legacy_column, reviewer, normal, name)"
                " SELECT %s, %s, %s, %s, d.normal, d.name FROM unnest(%s::text[], %s::text[])"
                " AS d (normal, name)"
            ).format(DECISIONS),
            [
                *(self.plan.name, self.lookup.table.label, self.lookup.legacy, reviewer),
                *([form for form, _ in kept], [name for _, name in kept]),
            ],
        )
        return len(other)

    def _refuse_foreign_names(self, wanted: Mapping[str, Decision]) -> None:
        """A lookup row's name must mean that row: the way back writes it as legacy text."""
        led_to = [self.lookup.blank, *self.lookup.synonyms.values()]
        rows = self.connection.execute(
            sql.SQL(
                "SELECT {form}, n.name, says.name FROM ("
                " SELECT d.name FROM {decisions} AS d WHERE {of_lookup}"
                " UNION SELECT unnest(%s::text[])) AS n"
                " CROSS JOIN LATERAL ({meaning}) AS says"
                " WHERE n.name IS NOT NULL AND {form} IS DISTINCT FROM {meant}"
            ).format(
                decisions=DECISIONS,
                of_lookup=self.of_lookup,
                meaning=meaning(self.lookup, self.plan.name, sql.Identifier("n", "name")),
                form=normal(sql.Identifier("n", "name")),
                meant=normal(sql.Identifier("says", "name")),
            ),
            [led_to],
        ).fetchall()
        problems: dict[str, str] = {}
        for form, name, meant in rows:
            blamed = [f for f, d in wanted.items() if d.name == name or f == form]
            problems |= dict.fromkeys(
                blamed,
                f"Texts become “{name}”, but the text “{name}” itself becomes {_quoted(meant)}. "
                "Let both become the same, or choose another name.",
            )
        if problems:
            raise CannotDecide(problems)

    def _make_rows(
        self, forms: Sequence[str], before: Mapping[tuple[str, str], tuple[int | None, str | None]]
    ) -> tuple[list[str], list[tuple[str, str]]]:
        """See that each name that the forms mean has its row: renamed, if it can be, or made."""
        made: list[str] = []
        renamed: list[tuple[str, str]] = []
        weights = self._rows_led_to(before)
        for name, named in self._names_meant(forms).items():
            row = self._row_named(name) or self._row_to_rename(named, forms, weights)
            if row is None:
                self.connection.execute(
                    sql.SQL("INSERT INTO {} (name) VALUES (%s)").format(self.lookup.lookup_sql),
                    [name],
                )
                made.append(name)
                continue
            id_, old, active = row
            if old != name or not active:
                self.connection.execute(
                    sql.SQL("UPDATE {} SET name = %s, active = true WHERE id = %s").format(
                        self.lookup.lookup_sql
                    ),
                    [name, id_],
                )
            if old != name:
                renamed.append((old, name))
        return made, renamed

    def _names_meant(self, forms: Sequence[str]) -> dict[str, list[str]]:
        """The forms that mean a name now, by that name."""
        form = sql.Identifier("f", "normal")
        rows = self.connection.execute(
            sql.SQL(
                "SELECT f.normal, says.name, says.why FROM unnest(%s::text[]) AS f (normal)"
                " CROSS JOIN LATERAL ({}) AS says WHERE length(says.name) <= %s"
            ).format(meaning(self.lookup, self.plan.name, form)),
            [list(forms), LONGEST_LOOKUP_VALUE],
        ).fetchall()
        meant: dict[str, list[str]] = defaultdict(list)
        for text, name, why in rows:
            # By the rule a row bears its most frequent spelling, not its normal form.
            meant[name if why else self._tidy_spelling(text, name)].append(text)
        return meant

    def _tidy_spelling(self, form: str, otherwise: str) -> str:
        row = self._row_named(form)
        if row is not None:
            return str(row[1])
        found = self.connection.execute(
            sql.SQL("SELECT m.legacy, {} FROM {} AS m WHERE m.normal = %s").format(
                tidy(sql.Identifier("m", "legacy")), self.mapping
            ),
            [form],
        ).fetchall()
        counts = self.counts or {}
        best = max(found, key=lambda row: (counts.get(row[0], 0), row[1]), default=None)
        return str(best[1]) if best else otherwise

    def _row_named(self, name: str) -> tuple[int, str, bool] | None:
        row = self.connection.execute(
            sql.SQL("SELECT l.id, l.name, l.active FROM {} AS l WHERE {} = {}").format(
                self.lookup.lookup_sql, normal(sql.Identifier("l", "name")), normal(sql.SQL("%s"))
            ),
            [name],
        ).fetchone()
        return (row[0], row[1], row[2]) if row else None

    def _rows_led_to(
        self, before: Mapping[tuple[str, str], tuple[int | None, str | None]]
    ) -> dict[str, dict[int, int]]:
        """By normal form: the lookup rows that it led to, and how many rows of the table those had.

        Without the row for blanks: it keeps its name.
        """
        led: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for (text, form), (row, name) in before.items():
            if row is not None and name != self.lookup.blank:
                led[form][row] += (self.counts or {}).get(text, 0)
        return led

    def _row_to_rename(
        self, named: Collection[str], forms: Sequence[str], led: Mapping[str, Mapping[int, int]]
    ) -> tuple[int, str, bool] | None:
        """The row that none but forms being decided led to, and that none of them means now."""
        weights: dict[int, int] = defaultdict(int)
        for form in named:
            for row, rows in led.get(form, {}).items():
                weights[row] += rows
        found = self.connection.execute(
            sql.SQL(
                "SELECT l.id, l.name, l.active FROM {lookup} AS l WHERE l.id = ANY (%(rows)s)"
                " AND NOT EXISTS (SELECT FROM {mapping} AS m"
                "  WHERE m.lookup_id = l.id AND m.normal <> ALL (%(forms)s))"
                " AND NOT EXISTS (SELECT FROM unnest(%(forms)s::text[]) AS f (normal)"
                "  CROSS JOIN LATERAL ({meaning}) AS says WHERE {meant} = {name})"
            ).format(
                lookup=self.lookup.lookup_sql,
                mapping=self.mapping,
                name=normal(sql.Identifier("l", "name")),
                meaning=meaning(self.lookup, self.plan.name, sql.Identifier("f", "normal")),
                meant=normal(sql.Identifier("says", "name")),
            ),
            {"rows": list(weights), "forms": list(forms)},
        ).fetchall()
        return min(found, key=lambda row: (-weights[row[0]], row[0]), default=None)

    def _map_again(self, forms: Sequence[str]) -> None:
        text = sql.Identifier("m", "legacy")
        self.connection.execute(
            sql.SQL(
                "UPDATE {mapping} AS m SET lookup_id = found.id, why = found.why FROM ("
                "  SELECT m.legacy, l.id, coalesce(says.why, {why}) AS why FROM {mapping} AS m"
                "  CROSS JOIN LATERAL ({meaning}) AS says"
                "  LEFT JOIN {lookup} AS l ON {named} = {wanted}"
                "  WHERE m.normal = ANY (%s)) AS found"
                " WHERE found.legacy = m.legacy"
            ).format(
                mapping=self.mapping,
                lookup=self.lookup.lookup_sql,
                why=why_mapped(text, sql.SQL("l")),
                meaning=meaning(self.lookup, self.plan.name, text),
                named=normal(sql.Identifier("l", "name")),
                wanted=normal(sql.Identifier("says", "name")),
            ),
            [list(forms)],
        )

    def _retire(self, rows: Collection[int]) -> list[str]:
        """Rows that no text leads to any more are no longer in use; their names."""
        retired = self.connection.execute(
            sql.SQL(
                "UPDATE {} AS l SET active = false WHERE l.id = ANY (%s) AND l.active"
                " AND NOT EXISTS (SELECT FROM {} AS m WHERE m.lookup_id = l.id) RETURNING l.name"
            ).format(self.lookup.lookup_sql, self.mapping),
            [list(rows)],
        ).fetchall()
        return sorted(name for (name,) in retired)


def _checked(lookup: Lookup, wanted: Mapping[str, Decision]) -> dict[str, Decision]:
    """The decisions with their names tidied. Raises CannotDecide."""
    checked: dict[str, Decision] = {}
    problems: dict[str, str] = {}
    for form, decision in wanted.items():
        if form == "":
            problems[form] = "What blank texts become is the plan's to say, in the lookup's blank."
            continue
        name = decision.name
        if decision.by_rule:
            checked[form] = Decision(by_rule=True)
            continue
        if name is None and lookup.required:
            # There is a row for texts without a value, and the column must have one.
            name = lookup.blank
        name = " ".join(name.split()) if name is not None else None
        if name == "":
            problems[form] = "A row needs a name. Choose “no value” where there is none."
        elif name is not None and "\x00" in name:
            problems[form] = "A name cannot hold a NUL character."
        elif name is not None and len(name) > LONGEST_LOOKUP_VALUE:
            problems[form] = (
                f"A name of {len(name):,} characters is too long: {LONGEST_LOOKUP_VALUE} are "
                "possible."
            )
        else:
            checked[form] = Decision(name=name)
    if problems:
        raise CannotDecide(problems)
    return checked


def _by_form(connection: Connection, decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """The decisions by normal form, which the target works out. Raises CannotDecide."""
    forms = normal_forms(connection, list(decisions))
    wanted: dict[str, Decision] = {}
    problems: dict[str, str] = {}
    for text, decision in decisions.items():
        form = forms[text]
        if wanted.setdefault(form, decision) != decision:
            problems[form] = (
                f"“{text}” differs from another text in case or white space alone, so both become "
                "the same. Give both the same row."
            )
    if problems:
        raise CannotDecide(problems)
    return wanted


def normal_forms(connection: Connection, texts: Sequence[str]) -> dict[str, str]:
    """The normal form of each text."""
    rows = connection.execute(
        sql.SQL("SELECT t.text, {} FROM unnest(%s::text[]) AS t (text)").format(
            normal(sql.Identifier("t", "text"))
        ),
        [list(texts)],
    ).fetchall()
    return dict(rows)


_EVERY_TEXT = sql.SQL("true")


def _counts(
    connection: Connection, lookup: Lookup, condition: sql.Composable
) -> dict[str, int] | None:
    """How many rows have each legacy text; None where counting takes too long."""
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{COUNT_SECONDS}s'".encode())
            rows = connection.execute(
                sql.SQL(
                    "SELECT coalesce({legacy}, ''), count(*) FROM {table} WHERE {condition}"
                    " GROUP BY 1"
                ).format(
                    legacy=sql.Identifier(lookup.legacy),
                    table=lookup.table.identifier,
                    condition=condition,
                )
            ).fetchall()
    except errors.QueryCanceled:
        return None
    return dict(rows)


@dataclass(frozen=True)
class _Found:
    normal: str
    name: str | None
    named: str | None
    """The name's normal form."""
    tidy: str
    spelling: Spelling


def _spellings(
    connection: Connection,
    plan: Plan,
    lookup: Lookup,
    counts: dict[str, int] | None,
    *,
    mapped: bool,
    decided: bool,
) -> list[_Found]:
    """Every text that rows have, and every one that a decision or nothing speaks for."""
    text = sql.Identifier("d", "legacy")
    known: sql.Composable = sql.SQL(
        "(SELECT NULL::text AS legacy, NULL::integer AS lookup_id, NULL::text AS why,"
        " NULL::timestamptz AS at WHERE false)"
    )
    named: sql.Composable = sql.SQL("(SELECT NULL::integer AS id, NULL::text AS name WHERE false)")
    if mapped:
        known, named = in_target(lookup.mapping_name(plan.name)), lookup.lookup_sql
    rows = connection.execute(
        sql.SQL(
            "SELECT d.legacy, {form}, {tidy}, d.rows, m.at, m.legacy IS NOT NULL, l.name, m.why,"
            " CASE WHEN length(says.name) <= %s THEN says.name END, {named_form}, says.why"
            " FROM (SELECT c.legacy, max(c.rows) AS rows FROM ("
            "   SELECT * FROM unnest(%s::text[], %s::bigint[]) AS c (legacy, rows)"
            "   UNION ALL SELECT k.legacy, 0 FROM {known} AS k"
            "    WHERE k.why IN ('decided', 'no_value', 'unmapped') OR %s) AS c GROUP BY 1) AS d"
            " LEFT JOIN {known} AS m ON m.legacy = d.legacy"
            " LEFT JOIN {named} AS l ON l.id = m.lookup_id"
            " CROSS JOIN LATERAL ({meaning}) AS says"
        ).format(
            form=normal(text),
            tidy=tidy(text),
            named_form=normal(sql.Identifier("says", "name")),
            known=known,
            named=named,
            meaning=meaning(lookup, plan.name, text, decided=decided),
        ),
        [LONGEST_LOOKUP_VALUE, list(counts or ()), list((counts or {}).values()), counts is None],
    ).fetchall()
    found = []
    for legacy, form, neat, number, at, known_now, row_name, why, meant, named_as, says in rows:
        name, reason = (row_name, why) if known_now else (meant, says or "")
        spelling = Spelling(legacy, None if counts is None else number, reason, at)
        found.append(_Found(form, name, named_as, neat, spelling))
    return found


def _as_they_will_be(found: Sequence[_Found]) -> list[_Found]:
    """Before there is a mapping: rows are named as ``add_missing`` will name them, and why."""
    weights: dict[str, dict[tuple[bool, str], int]] = defaultdict(lambda: defaultdict(int))
    for one in found:
        if one.named and one.name is not None:
            weights[one.named][not one.spelling.why, one.name] += one.spelling.rows or 0
    named = []
    for one in found:
        name = None
        if one.named and one.name is not None:
            options = weights[one.named]
            # What somebody decided or the plan says first, then the most frequent.
            name = min(options, key=lambda option: (option[0], -options[option], option[1]))[1]
        text = one.spelling
        why = text.why or _why(one, name)
        named.append(replace(one, name=name, spelling=replace(text, why=why)))
    return named


def _why(found: _Found, name: str | None) -> str:
    if found.normal == "":
        return "blank"
    if name is None:
        return "unmapped"
    if found.spelling.text == name:
        return "exact"
    return "trimmed" if found.tidy == name else "case"


def _decisions(connection: Connection, plan: Plan, lookup: Lookup) -> list[tuple[Any, ...]]:
    return connection.execute(
        sql.SQL("SELECT d.normal, d.reviewer, d.at FROM {} AS d WHERE {}").format(
            DECISIONS, decisions_of(lookup, plan.name, "d")
        )
    ).fetchall()


def _exists(connection: Connection, name: str) -> bool:
    return ask(connection, facts.relation_exists(sql.Identifier(SCHEMA, name)))


def _quoted(name: str | None) -> str:
    return "no value" if name is None else f"“{name}”"
