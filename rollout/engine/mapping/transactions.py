"""Carries decisions out in one transaction: the decisions, the lookup rows, the mapping."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import psycopg
from psycopg import errors, sql

from rollout.engine.lookup_rows import cause
from rollout.engine.mapping.decisions import (
    UNKNOWN_MEANING,
    Busy,
    CannotDecide,
    Change,
    Decision,
    Meaning,
    Meanings,
    Outcome,
    by_form,
    checked,
)
from rollout.engine.mapping.texts import counts_of, is_mapped
from rollout.engine.quarantine import is_of_a_row
from rollout.engine.target import Connection, fetch_bool, install
from rollout.plan import facts
from rollout.plan.mapping import DECISIONS, decisions_of, meaning, why_mapped
from rollout.plan.names import in_target, normal, tidy
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

_LOCK_TIMEOUT = "1s"


def decide(
    connection: Connection,
    plan: Plan,
    lookup: Lookup,
    decisions: Mapping[str, Decision],
    *,
    reviewer: str,
    keep: bool,
    texts: Collection[str] = (),
) -> Outcome:
    """Carry out decisions on texts, whatever their spelling, in one transaction.

    Texts of rows that the mapping does not know yet get their place in it: those that are found,
    or, where counting takes too long, those among ``texts``, which an audit has found.
    Without ``keep`` it is rolled back: what a preview tells is what would be. A lookup row whose
    texts all get one new name is renamed in place, so that no row of the table need be written.
    Raises CannotDecide, Busy and psycopg.Error.
    """
    install(connection)
    wanted = checked(lookup, by_form(connection, decisions))
    mapped = is_mapped(connection, plan, lookup)
    forms = list(wanted)
    counts = counts_of(
        connection,
        lookup,
        sql.SQL("{} = ANY ({}::text[])").format(
            normal(sql.SQL("coalesce({}, '')").format(lookup.text(sql.Identifier(lookup.legacy)))),
            sql.Literal(forms),
        ),
    )
    try:
        with connection.transaction(force_rollback=not keep):
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'".encode())
            # A deferred constraint must refuse its row, not the commit.
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            # Two reviews at once come one after the other.
            connection.execute("LOCK TABLE rollout.decisions IN SHARE ROW EXCLUSIVE MODE")
            if mapped:
                # Nobody maps a text by the old decisions while the new ones are not committed.
                connection.execute(
                    sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(
                        in_target(lookup.mapping_name(plan.name))
                    )
                )
            return _Deciding(connection, plan, lookup, counts, texts).carry_out(
                wanted, reviewer=reviewer, mapped=mapped
            )
    except errors.LockNotAvailable as error:
        raise Busy(
            "The mapping is locked by an application write. Nothing was changed. Try again in a "
            "moment."
        ) from error


class _Deciding:
    """Decisions being carried out, inside their transaction."""

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        lookup: Lookup,
        counts: dict[str, int] | None,
        texts: Collection[str],
    ) -> None:
        self.connection = connection
        self.plan = plan
        self.lookup = lookup
        self.counts = counts
        self.texts = texts if counts is None else counts
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
            self._add_texts(forms)
            made, renamed = self._make_rows(forms, before)
            self._map_again(forms)
            retired = self._retire({was.row for was in before.values() if was.row is not None})
        elif fetch_bool(self.connection, facts.relation_exists(self.lookup.lookup_sql)):
            self._try_rows(wanted)
        changes = []
        for (text, form), now in self._meanings(forms, mapped=mapped).items():
            was = before.get((text, form), UNKNOWN_MEANING)
            if now != was:
                changes.append(
                    Change(
                        legacy=text,
                        normal=form,
                        before=was.name,
                        after=now.name,
                        rows=None if self.counts is None else self.counts.get(text, 0),
                        moved=mapped and now.row != was.row,
                        unmapped=not was.known,
                    )
                )
        changes.sort(key=lambda c: (-(c.rows or 0), c.legacy))
        return Outcome(changes, made, renamed, retired, mapped, decided)

    def _add_texts(self, forms: Sequence[str]) -> None:
        """Give texts that were written around the triggers a place in the mapping."""
        self.connection.execute(
            sql.SQL(
                "INSERT INTO {} (legacy, why) SELECT t.text, 'unmapped'"
                " FROM unnest(%s::text[]) AS t (text) WHERE {} = ANY (%s) ON CONFLICT DO NOTHING"
            ).format(self.mapping, normal(sql.Identifier("t", "text"))),
            [list(self.texts), list(forms)],
        )

    def _meanings(self, forms: Sequence[str], *, mapped: bool) -> Meanings:
        if mapped:
            rows = self.connection.execute(
                sql.SQL(
                    "SELECT m.legacy, m.normal, m.lookup_id, l.name, m.why <> 'unmapped'"
                    " FROM {} AS m LEFT JOIN {} AS l ON l.id = m.lookup_id"
                    " WHERE m.normal = ANY (%s)"
                ).format(self.mapping, self.lookup.lookup_sql),
                [list(forms)],
            ).fetchall()
        else:
            text = sql.Identifier("d", "legacy")
            rows = self.connection.execute(
                sql.SQL(
                    "SELECT d.legacy, {form}, NULL::integer, says.name,"
                    " says.name IS NOT NULL OR says.why IS NOT NULL OR {form} = ''"
                    " FROM unnest(%s::text[]) AS d (legacy) CROSS JOIN LATERAL ("
                    "  SELECT CASE WHEN length(m.name) <= %s THEN m.name END AS name, m.why"
                    "  FROM ({meaning}) AS m) AS says"
                ).format(form=normal(text), meaning=meaning(self.lookup, self.plan.name, text)),
                [list(self.counts) if self.counts else list(forms), self.lookup.longest],
            ).fetchall()
        return {(text, form): Meaning(*meant) for text, form, *meant in rows}

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
                f"Values map to “{name}”, but the value “{name}” itself maps to {_quoted(meant)}. "
                "Map both to the same row, or choose another name.",
            )
        if problems:
            raise CannotDecide(problems)

    def _try_rows(self, wanted: Mapping[str, Decision]) -> None:
        """Refuse names that the lookup table will not take when phase 2 makes their rows."""
        problems: dict[str, str] = {}
        named: dict[str, list[str]] = defaultdict(list)
        for form, decision in wanted.items():
            if decision.name is not None:
                named[decision.name].append(form)
        with self.connection.transaction(force_rollback=True):
            for name, forms in named.items():
                row = self._row_named(name)
                if row is None or row[1] != name:
                    reason = self._write_row(name, row and row[0])
                    problems |= dict.fromkeys(forms, reason) if reason else {}
        if problems:
            raise CannotDecide(problems)

    def _write_row(self, name: str, row: int | None) -> str:
        """Make a lookup row, or name one anew; why the table refuses it, empty if it is done."""
        insert = sql.SQL("INSERT INTO {} (name) VALUES (%s)")
        rename = sql.SQL("UPDATE {} SET name = %s, active = true WHERE id = %s")
        try:
            with self.connection.transaction():
                self.connection.execute(
                    (insert if row is None else rename).format(self.lookup.lookup_sql),
                    [name] if row is None else [name, row],
                )
        except psycopg.Error as error:
            if not is_of_a_row(error):
                raise
            return (
                f"The lookup table {self.lookup.lookup_label} rejects the name “{name}”: "
                f"{cause(error)}. Choose another name, or change the table first."
            )
        return ""

    def _make_rows(
        self, forms: Sequence[str], before: Meanings
    ) -> tuple[list[str], list[tuple[str, str]]]:
        """See that each name that the forms mean has its row: renamed, if it can be, or made."""
        made: list[str] = []
        renamed: list[tuple[str, str]] = []
        problems: dict[str, str] = {}
        weights = self._rows_led_to(before)
        for name, named in self._names_meant(forms).items():
            row = self._row_named(name) or self._row_to_rename(named, forms, weights)
            if row is None:
                reason = self._write_row(name, None)
                made.append(name)
            else:
                id_, old, active = row
                reason = self._write_row(name, id_) if old != name or not active else ""
                if old != name:
                    renamed.append((old, name))
            if reason:
                problems |= dict.fromkeys(named, reason)
        if problems:
            raise CannotDecide(problems)
        return made, renamed

    def _names_meant(self, forms: Sequence[str]) -> dict[str, list[str]]:
        """The forms that mean a name now, by that name."""
        form = sql.Identifier("f", "normal")
        rows = self.connection.execute(
            sql.SQL(
                "SELECT f.normal, says.name, says.why FROM unnest(%s::text[]) AS f (normal)"
                " CROSS JOIN LATERAL ({}) AS says WHERE length(says.name) <= %s"
            ).format(meaning(self.lookup, self.plan.name, form)),
            [list(forms), self.lookup.longest],
        ).fetchall()
        meant: dict[str, list[str]] = defaultdict(list)
        for text, name, why in rows:
            # A row is named by its most frequent spelling, not by its normal form.
            meant[name if why else self._tidy_spelling(text, name)].append(text)
        return meant

    def _tidy_spelling(self, form: str, otherwise: str) -> str:
        row = self._row_named(form)
        if row is not None:
            return str(row[1])
        candidates = self.connection.execute(
            sql.SQL("SELECT m.legacy, {} FROM {} AS m WHERE m.normal = %s").format(
                tidy(sql.Identifier("m", "legacy")), self.mapping
            ),
            [form],
        ).fetchall()
        counts = self.counts or {}
        best = max(candidates, key=lambda row: (counts.get(row[0], 0), row[1]), default=None)
        return str(best[1]) if best else otherwise

    def _row_named(self, name: str) -> tuple[int, str, bool] | None:
        row = self.connection.execute(
            sql.SQL("SELECT l.id, l.name, l.active FROM {} AS l WHERE {} = {}").format(
                self.lookup.lookup_sql, normal(sql.Identifier("l", "name")), normal(sql.SQL("%s"))
            ),
            [name],
        ).fetchone()
        return (row[0], row[1], row[2]) if row else None

    def _rows_led_to(self, before: Meanings) -> dict[str, dict[int, int]]:
        """By normal form: the lookup rows that it led to, and how many rows of the table those had.

        Without the row for blanks: it keeps its name.
        """
        led: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for (text, form), was in before.items():
            if was.row is not None and was.name != self.lookup.blank:
                led[form][was.row] += (self.counts or {}).get(text, 0)
        return led

    def _row_to_rename(
        self, named: Collection[str], forms: Sequence[str], led: Mapping[str, Mapping[int, int]]
    ) -> tuple[int, str, bool] | None:
        """The row that none but forms being decided led to, and that none of them means now."""
        weights: dict[int, int] = defaultdict(int)
        for form in named:
            for row, rows in led.get(form, {}).items():
                weights[row] += rows
        candidates = self.connection.execute(
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
        return min(candidates, key=lambda row: (-weights[row[0]], row[0]), default=None)

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


def _quoted(name: str | None) -> str:
    return "no value" if name is None else f"“{name}”"
