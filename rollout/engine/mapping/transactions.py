"""Applies decisions in one transaction: the decisions, the lookup rows, the mapping."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from psycopg import errors, sql

from rollout.engine.mapping.decisions import (
    UNKNOWN_MEANING,
    CannotDecide,
    Change,
    Decision,
    MappingLocked,
    Meaning,
    Meanings,
    Outcome,
    by_form,
    checked,
)
from rollout.engine.mapping.row_changes import RowChanges
from rollout.engine.mapping.texts import counts_of, is_mapped, normal_forms
from rollout.engine.target import Connection, fetch_bool, install
from rollout.plan import facts
from rollout.plan.mapping import DECISIONS, decisions_of, meaning, why_mapped
from rollout.plan.names import in_target, normal
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
    """Apply decisions on texts, whatever their spelling, in one transaction.

    Texts of rows that the mapping does not know yet get their place in it: those that are found,
    or, where counting takes too long, those among ``texts``, which an audit has found.
    Without ``keep`` it is rolled back: what a preview tells is what would be. A lookup row whose
    texts all get one new name is renamed in place, so that no row of the table need be written.
    Raises CannotDecide, MappingLocked and psycopg.Error.
    """
    install(connection)
    wanted = checked(lookup, by_form(connection, decisions))
    mapped = is_mapped(connection, plan, lookup)
    names = [] if mapped else [d.name for d in wanted.values() if d.name is not None]
    of_names = normal_forms(connection, names)
    counts = counts_of(
        connection,
        lookup,
        sql.SQL("{} = ANY ({}::text[])").format(
            normal(sql.SQL("coalesce({}, '')").format(lookup.text(sql.Identifier(lookup.legacy)))),
            sql.Literal([*wanted, *of_names.values()]),
        ),
    )
    there = normal_forms(connection, list(counts or ()))
    # Before there is a mapping, texts that are spelt like a name are looked for too.
    unknown: dict[str, str] = {}
    if counts is not None:
        unknown = {name: form for name, form in of_names.items() if form not in there.values()}
        counts = {text: rows for text, rows in counts.items() if there[text] in wanted}
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
            return _Transaction(connection, plan, lookup, counts, texts).run(
                wanted, reviewer=reviewer, mapped=mapped, unknown=unknown
            )
    except errors.LockNotAvailable as error:
        raise MappingLocked(
            "The mapping is locked by an application write. Nothing was changed. Try again in a "
            "moment."
        ) from error


class _Transaction:
    """The decisions and the mapping, inside the open transaction."""

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

    def run(
        self,
        wanted: Mapping[str, Decision],
        *,
        reviewer: str,
        mapped: bool,
        unknown: Mapping[str, str],
    ) -> Outcome:
        """``unknown`` are normal forms by names that no text of the table has."""
        forms = list(wanted)
        known = set() if mapped else self._known_forms(forms)
        before = self._meanings(forms, mapped=mapped)
        earlier = self._write_decisions(wanted, reviewer)
        self._refuse_foreign_names(wanted)
        made: list[str] = []
        renamed: list[tuple[str, str]] = []
        retired: list[str] = []
        rows = RowChanges(self.connection, self.plan, self.lookup, self.counts)
        if mapped:
            self._add_texts(forms)
            made, renamed = rows.make(forms, before)
            self._map_again(forms)
            retired = rows.retire({was.row for was in before.values() if was.row is not None})
        elif fetch_bool(self.connection, facts.relation_exists(self.lookup.lookup_sql)):
            rows.try_names(wanted)
        changes = []
        names = {(form, was.name) for (_, form), was in before.items()}
        group_names = {} if mapped else self._group_names(before)
        after = self._meanings(forms, mapped=mapped)
        names_after = {} if mapped else self._group_names(after)
        for (text, form), now in after.items():
            was = before.get((text, form), UNKNOWN_MEANING)
            # Spellings that go together get one row, whose name one of them gives it.
            is_same = not mapped and (now.form, now.known) == (was.form, was.known)
            if now != was and not (is_same and (not self.texts or (form, now.name) in names)):
                changes.append(
                    Change(
                        legacy=text,
                        normal=form,
                        before=group_names.get(was.form, was.name),
                        after=names_after.get(now.form, now.name),
                        rows=None if self.counts is None else self.counts.get(text, 0),
                        moved=mapped and now.row != was.row,
                        unmapped=not was.known,
                    )
                )
        changes.sort(key=lambda c: (-(c.rows or 0), c.legacy))
        new = made if mapped else sorted(n for n, form in unknown.items() if form not in known)
        back = frozenset(form for form in earlier if wanted[form].by_default)
        return Outcome(changes, made, renamed, retired, mapped, len(earlier), earlier, new, back)

    def _known_forms(self, forms: Sequence[str]) -> set[str]:
        """Normal forms of the names that the plan or other decisions give lookup rows."""
        decided = self.connection.execute(
            sql.SQL(
                "SELECT d.name FROM {} AS d WHERE {} AND d.name IS NOT NULL"
                " AND d.normal <> ALL (%s)"
            ).format(DECISIONS, self.of_lookup),
            [list(forms)],
        ).fetchall()
        lookup = self.lookup
        names = [str(row["name"]) for row in lookup.fixed_rows.values()]
        names += [*lookup.synonyms.values(), *(name for (name,) in decided)]
        if lookup.blank is not None:
            names.append(lookup.blank)
        return set(normal_forms(self.connection, names).values())

    def _group_names(self, meanings: Meanings) -> dict[str | None, str | None]:
        """Before there is a mapping: the name of the row that spellings of one form will share.

        By the name's form; it is that of the spelling that most rows have.
        """
        rows: dict[str | None, Counter[str | None]] = defaultdict(Counter)
        for (text, _), meaning_before in meanings.items():
            rows[meaning_before.form][meaning_before.name] += (self.counts or {}).get(text, 0)
        return {form: names.most_common(1)[0][0] for form, names in rows.items()}

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
                    " says.name IS NOT NULL OR says.why IS NOT NULL OR {form} = '', {of_name}"
                    " FROM unnest(%s::text[]) AS d (legacy) CROSS JOIN LATERAL ("
                    "  SELECT CASE WHEN length(m.name) <= %s THEN m.name END AS name, m.why"
                    "  FROM ({meaning}) AS m) AS says"
                ).format(
                    form=normal(text),
                    of_name=normal(sql.Identifier("says", "name")),
                    meaning=meaning(self.lookup, self.plan.name, text),
                ),
                [list(self.counts) if self.counts else list(forms), self.lookup.longest],
            ).fetchall()
        return {(text, form): Meaning(*meant) for text, form, *meant in rows}

    def _write_decisions(
        self, wanted: Mapping[str, Decision], reviewer: str
    ) -> dict[str, Decision]:
        """What was decided before on the normal forms that have another decision now."""
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
            if (form in known) == decision.by_default or known.get(form) != decision.name
        }
        self.connection.execute(
            sql.SQL("DELETE FROM {} AS d WHERE {} AND d.normal = ANY (%s)").format(
                DECISIONS, self.of_lookup
            ),
            [list(other)],
        )
        kept = [
            (form, decision.name) for form, decision in other.items() if not decision.by_default
        ]
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
        return {
            form: Decision(known[form]) if form in known else Decision(by_default=True)
            for form in other
        }

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


def _quoted(name: str | None) -> str:
    return "no value" if name is None else f"“{name}”"
