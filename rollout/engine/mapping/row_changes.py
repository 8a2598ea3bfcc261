"""Creates, renames and retires lookup rows, in the transaction that carries decisions out."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import psycopg
from psycopg import sql

from rollout.engine.lookup_rows import cause
from rollout.engine.mapping.decisions import CannotDecide, Decision, Meanings
from rollout.engine.quarantine import is_of_a_row
from rollout.engine.target import Connection
from rollout.plan.mapping import meaning
from rollout.plan.names import in_target, normal, tidy
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup


class RowChanges:
    """The lookup rows of decisions; ``counts`` are how many rows of the table have each text."""

    def __init__(
        self, connection: Connection, plan: Plan, lookup: Lookup, counts: dict[str, int] | None
    ) -> None:
        self.connection = connection
        self.plan = plan
        self.lookup = lookup
        self.counts = counts or {}
        self.mapping = in_target(lookup.mapping_name(plan.name))

    def try_names(self, wanted: Mapping[str, Decision]) -> None:
        """Refuse names that the lookup table would reject in phase 2."""
        problems: dict[str, str] = {}
        named: dict[str, list[str]] = defaultdict(list)
        for form, decision in wanted.items():
            if decision.name is not None:
                named[decision.name].append(form)
        with self.connection.transaction(force_rollback=True):
            for name, forms in named.items():
                row = self._named(name)
                if row is None or row[1] != name:
                    reason = self._write(name, row and row[0])
                    problems |= dict.fromkeys(forms, reason) if reason else {}
        if problems:
            raise CannotDecide(problems)

    def make(
        self, forms: Sequence[str], before: Meanings
    ) -> tuple[list[str], list[tuple[str, str]]]:
        """Give each name that the forms mean its row, renamed if possible, else created."""
        made: list[str] = []
        renamed: list[tuple[str, str]] = []
        problems: dict[str, str] = {}
        weights = self._weights(before)
        for name, named in self._names_meant(forms).items():
            row = self._named(name) or self._to_rename(named, forms, weights)
            if row is None:
                reason = self._write(name, None)
                made.append(name)
            else:
                id_, old, active = row
                reason = self._write(name, id_) if old != name or not active else ""
                if old != name:
                    renamed.append((old, name))
            if reason:
                problems |= dict.fromkeys(named, reason)
        if problems:
            raise CannotDecide(problems)
        return made, renamed

    def retire(self, rows: Collection[int]) -> list[str]:
        """Deactivate rows that no value maps to; their names."""
        retired = self.connection.execute(
            sql.SQL(
                "UPDATE {} AS l SET active = false WHERE l.id = ANY (%s) AND l.active"
                " AND NOT EXISTS (SELECT FROM {} AS m WHERE m.lookup_id = l.id) RETURNING l.name"
            ).format(self.lookup.lookup_sql, self.mapping),
            [list(rows)],
        ).fetchall()
        return sorted(name for (name,) in retired)

    def _write(self, name: str, row: int | None) -> str:
        """Create or rename a lookup row; why the table rejects it, empty if it does not."""
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
        row = self._named(form)
        if row is not None:
            return str(row[1])
        candidates = self.connection.execute(
            sql.SQL("SELECT m.legacy, {} FROM {} AS m WHERE m.normal = %s").format(
                tidy(sql.Identifier("m", "legacy")), self.mapping
            ),
            [form],
        ).fetchall()
        best = max(candidates, key=lambda row: (self.counts.get(row[0], 0), row[1]), default=None)
        return str(best[1]) if best else otherwise

    def _named(self, name: str) -> tuple[int, str, bool] | None:
        row = self.connection.execute(
            sql.SQL("SELECT l.id, l.name, l.active FROM {} AS l WHERE {} = {}").format(
                self.lookup.lookup_sql, normal(sql.Identifier("l", "name")), normal(sql.SQL("%s"))
            ),
            [name],
        ).fetchone()
        return (row[0], row[1], row[2]) if row else None

    def _weights(self, before: Meanings) -> dict[str, dict[int, int]]:
        """By normal form: the lookup rows that it led to, and how many rows of the table those had.

        Without the row for blanks: it keeps its name.
        """
        led: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for (text, form), was in before.items():
            if was.row is not None and was.name != self.lookup.blank:
                led[form][was.row] += self.counts.get(text, 0)
        return led

    def _to_rename(
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
