"""What a pair of legacy and new value means, by a lookup's mapping in the audit's snapshot."""

import hashlib
from functools import cached_property
from typing import Any

from psycopg import sql

from rollout.engine.audit.categories import MATCHED
from rollout.engine.target import Connection
from rollout.plan.names import in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup


class LookupPairs:
    """How one lookup's pairs are classified.

    ``archived``: the legacy column is dropped, and the archive has its text.
    """

    def __init__(
        self, connection: Connection, plan: Plan, lookup: Lookup, *, archived: bool
    ) -> None:
        self.lookup = lookup
        self.archived = archived
        rows = connection.execute(
            sql.SQL("SELECT id, name, active FROM {} ORDER BY id").format(lookup.lookup_sql)
        ).fetchall()
        self.names: dict[int, str] = {id_: name for id_, name, _ in rows}
        self.inactive = {id_ for id_, _, active in rows if not active}
        self._read_mapping(connection, plan)

    def _read_mapping(self, connection: Connection, plan: Plan) -> None:
        lookup = self.lookup
        rows = connection.execute(
            sql.SQL(
                "SELECT m.legacy, m.lookup_id, CASE WHEN l.name = m.legacy THEN 'ok'"
                " WHEN {name} = {text} THEN 'ok_normalized'"
                " WHEN m.lookup_id IS NOT NULL OR m.why = 'no_value' THEN 'ok_mapped'"
                " WHEN {text} = '' AND {blank}::text IS NULL THEN 'both_null'"
                " ELSE 'unmapped' END,"
                " {text} <> '' AND min(m.lookup_id) OVER same IS DISTINCT FROM"
                " max(m.lookup_id) OVER same"
                " FROM {mapping} AS m LEFT JOIN {lookup} AS l ON l.id = m.lookup_id"
                " WINDOW same AS (PARTITION BY {text}) ORDER BY m.legacy"
            ).format(
                name=normal(sql.Identifier("l", "name")),
                text=normal(sql.Identifier("m", "legacy")),
                blank=sql.Literal(lookup.blank),
                mapping=in_target(lookup.mapping_name(plan.name)),
                lookup=lookup.lookup_sql,
            )
        ).fetchall()
        self.mapping: dict[str, tuple[int | None, str]] = {
            text: (row, category) for text, row, category, _ in rows
        }
        self.ambiguous: set[str] = {text for text, _, _, ambiguous in rows if ambiguous}

    @cached_property
    def joined(self) -> set[int]:
        """The lookup rows that texts of another name mean as well."""
        return {
            row
            for text, (row, category) in self.mapping.items()
            if row is not None and category == "ok_mapped" and text.strip()
        }

    @property
    def columns(self) -> list[str]:
        """What the scan groups by for this lookup."""
        return [self.lookup.legacy, self.lookup.column]

    @property
    def digest(self) -> str:
        """Digest of everything that values are compared by."""
        content = repr((self.names, sorted(self.inactive), sorted(self.mapping.items())))
        return hashlib.sha256(content.encode()).hexdigest()

    def classify(self, legacy: str | None, new: int | None) -> str:
        category = self._by_mapping(legacy, new)
        if category not in MATCHED:
            return category
        if (legacy or "") in self.ambiguous:
            return "ambiguous"
        return "inactive" if new in self.inactive else category

    def _by_mapping(self, legacy: str | None, new: int | None) -> str:
        if new is not None and new not in self.names:
            return "orphan"
        named = None if new is None else self.names[new]
        if self.archived and named is not None and named == legacy and named not in self.mapping:
            # Written since, with a lookup row that is new as well: its name is the text.
            return "ok"
        expected, same = self.mapping.get(legacy or "", (None, "unmapped"))
        if expected is None:
            return same if new is None or same == "unmapped" else "unexpected"
        if new is None:
            return "missing"
        return same if new == expected else "wrong"

    def expected_name(self, legacy: str | None) -> str | None:
        expected, _ = self.mapping.get(legacy or "", (None, "unmapped"))
        return self.names.get(expected) if expected is not None else None

    def new_name(self, new: int | None) -> str | None:
        return None if new is None else self.names.get(new, f"#{new} (no such row)")

    def values(self, row: dict[str, Any]) -> tuple[str | None, int | None]:
        """Legacy text and lookup row of a row that the scan gave."""
        return row[self.lookup.legacy], row[self.lookup.column]
