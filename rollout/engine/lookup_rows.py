"""Rows that a lookup table refuses: why in plain words, and trying them before they are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors, sql

from rollout.engine.quarantine import is_of_a_row
from rollout.engine.target import Connection, fetch_bool
from rollout.plan import facts
from rollout.plan.mapping import DECISIONS, insert_fixed_rows, missing_names
from rollout.plan.translations import Lookup

# Others that write the same names wait for the trial's end: it has to be short.
MAX_TRIED_NAMES = 1_000
# A rule that refuses many is understood from a few; each costs some twenty statements to find.
MAX_NAMED_REFUSALS = 5
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Trial:
    """How many rows were tried, and why the first refused ones are, by their names."""

    tried: int
    is_complete: bool
    refused: Mapping[str, str]

    @property
    def has_more(self) -> bool:
        return len(self.refused) >= MAX_NAMED_REFUSALS


def cause(error: psycopg.Error) -> str:
    """Why a lookup row was refused, in plain words."""
    at, text = error.diag, error.diag.message_primary or str(error)
    match error:
        case errors.CheckViolation():
            of = f" of the type {at.datatype_name}" if at.datatype_name else ""
            return f"CHECK {at.constraint_name}{of} fails"
        case errors.UniqueViolation() | errors.ExclusionViolation():
            return f"constraint {at.constraint_name} already has an equal row"
        case errors.NotNullViolation():
            return f"column {at.column_name or 'of the name'} needs a value and has no default"
    return text


def try_missing(connection: Connection, lookup: Lookup, plan: str) -> Trial:
    """Make the rows that phase 2 would make, in a transaction that the caller rolls back.

    Raises psycopg.Error for whatever no row causes.
    """
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    trial = _Rows(connection, lookup)
    for id_, row in lookup.fixed_rows.items():
        trial.try_fixed_row(id_, row)
    decided = fetch_bool(connection, facts.relation_exists(DECISIONS))
    names = [
        name
        for (name,) in connection.execute(
            sql.SQL("{} LIMIT {}").format(
                missing_names(lookup, plan, decided=decided), sql.Literal(MAX_TRIED_NAMES + 1)
            )
        )
    ]
    tried = names[:MAX_TRIED_NAMES]
    trial.try_names(tried)
    return Trial(len(lookup.fixed_rows) + len(tried), len(tried) == len(names), trial.refused)


@dataclass
class _Rows:
    connection: Connection
    lookup: Lookup
    refused: dict[str, str] = field(default_factory=dict)

    def try_fixed_row(self, id_: int, row: Mapping[str, Any]) -> None:
        if len(self.refused) < MAX_NAMED_REFUSALS and (
            reason := self._reason(insert_fixed_rows(self.lookup, [id_]), [])
        ):
            self.refused[_shown(row["name"])] = reason

    def try_names(self, names: Sequence[str]) -> None:
        """Halve what is refused until each refused name is alone; what is taken stays."""
        if not names or len(self.refused) >= MAX_NAMED_REFUSALS:
            return
        # Naming the IDs avoids using up numbers of the sequence for good.
        insert = sql.SQL(
            "INSERT INTO {lookup} (id, name) OVERRIDING SYSTEM VALUE"
            " SELECT (SELECT coalesce(max(l.id), 0) FROM {lookup} AS l) + n.place, n.name"
            " FROM unnest(%s::text[]) WITH ORDINALITY AS n (name, place)"
        ).format(lookup=self.lookup.lookup_sql)
        reason = self._reason(insert, [list(names)])
        if not reason:
            return
        if len(names) == 1:
            self.refused[_shown(names[0])] = reason
            return
        half = len(names) // 2
        self.try_names(names[:half])
        self.try_names(names[half:])

    def _reason(self, insert: sql.Composed, values: list[Any]) -> str:
        """Why the table refuses the rows; empty if they are made."""
        try:
            with self.connection.transaction():
                self.connection.execute(insert, values)
        except psycopg.Error as error:
            if not is_of_a_row(error):
                raise
            return cause(error)
        return ""


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}…"
