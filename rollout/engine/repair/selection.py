"""Which rows a repair is about: those that meet all that is given."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import sql

from rollout.engine.repair.cells import SELECTABLE
from rollout.plan.conversions import Conversion
from rollout.plan.errors import RolloutError
from rollout.plan.plan import Plan
from rollout.plan.table import Table
from rollout.plan.translations import ColumnTranslation, Lookup, Translation

# Maximum of rows selected by their keys; select more by their category.
MAX_KEYS = 1000


class NothingSelected(RolloutError, ValueError):
    """The selection cannot be understood; the message says what about it."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Rows that meet all that is given; columns and categories that are empty mean all of them.

    ``legacy`` holds texts of the legacy column, the empty one for NULL; ``keys`` the texts of
    primary keys, part by part.
    """

    columns: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    legacy: tuple[str, ...] | None = None
    keys: tuple[tuple[str, ...], ...] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Selection":
        """The selection of a ``rollout.models.Repair``. Raises NothingSelected."""
        unknown = set(given) - set(cls.__dataclass_fields__)
        if unknown:
            raise NothingSelected(
                f"Unknown part of the selection: {', '.join(sorted(unknown))}. Start again from "
                "the audit report."
            )
        legacy, keys = given.get("legacy"), given.get("keys")
        return cls(
            columns=tuple(given.get("columns") or ()),
            categories=tuple(given.get("categories") or ()),
            legacy=None if legacy is None else tuple(text or "" for text in legacy),
            keys=None if keys is None else tuple(tuple(map(str, key)) for key in keys),
        )

    @property
    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, plan: Plan, table: Table) -> None:
        """Raises NothingSelected where no row of a table can be meant."""
        known = list(
            dict.fromkeys(
                name
                for translation in (*plan.translations_of(table), *plan.computed_of(table))
                for name in _names_of(translation)
            )
        )
        for column in self.columns:
            if column not in known:
                raise NothingSelected(
                    f"The plan fills no column {column} of {table.label}. Select one of "
                    f"{', '.join(known)}."
                )
        for category in self.categories:
            if category not in SELECTABLE:
                raise NothingSelected(
                    f"Category {category} has no rows to repair. Select one of "
                    f"{', '.join(SELECTABLE)}."
                )
        if self.legacy == () or self.keys == ():
            raise NothingSelected("No rows selected. Select at least one row.")
        if self.keys is None:
            return
        if len(self.keys) > MAX_KEYS:
            raise NothingSelected(
                f"{len(self.keys):,} keys selected; the maximum is {MAX_KEYS:,}. Select by "
                "category instead."
            )
        if any(len(key) != len(table.key) for key in self.keys):
            raise NothingSelected(
                f"A key of {table.label} has the parts {', '.join(table.key)}. Choose rows of "
                "the audit report."
            )

    def includes(self, translation: Translation) -> bool:
        """Whether a translation's column is among those selected."""
        return not self.columns or any(name in self.columns for name in _names_of(translation))

    def has_text(self, translation: ColumnTranslation) -> sql.Composable | None:
        """SQL condition: row ``t`` has a selected legacy text; None where every text is."""
        if self.legacy is None:
            return None
        if isinstance(translation, Lookup):
            text = translation.legacy_text("t")
        elif translation.reads:
            text = sql.SQL("concat_ws(', ', {})").format(
                sql.SQL(", ").join(sql.Identifier("t", name) for name in translation.reads)
            )
        else:
            return sql.SQL("false")
        return sql.SQL("{} = ANY ({}::text[])").format(text, sql.Literal(list(self.legacy)))

    def has_key(self, table: Table) -> sql.Composable:
        """SQL condition: the key of row ``t`` is selected."""
        if self.keys is None:
            return sql.SQL("true")
        records = [dict(zip(table.key, key, strict=True)) for key in dict.fromkeys(self.keys)]
        # The table's own row type lets the primary key's index serve it.
        return sql.SQL(
            "({}) IN (SELECT {} FROM jsonb_populate_recordset(NULL::{}, {}::jsonb) AS k)"
        ).format(
            table.key_of("t"), table.key_of("k"), table.identifier, sql.Literal(json.dumps(records))
        )


def _names_of(translation: Translation) -> list[str]:
    """What a translation's column is called; a report calls computed ones by all their names."""
    names = list(translation.added)
    # A review of values knows its columns by the names that the plan declares.
    declared = map(translation.declared, names) if isinstance(translation, Conversion) else ()
    return [*names, ", ".join(names), *declared]
