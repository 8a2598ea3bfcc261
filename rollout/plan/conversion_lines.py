"""The PL/pgSQL lines of a dual write's function that keep one conversion's columns in step."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from psycopg import sql

from rollout.plan.conflicting_writes import noted
from rollout.plan.conversions import Conversion
from rollout.plan.extraction_triggers import made
from rollout.plan.extractions import Extract
from rollout.plan.names import code
from rollout.plan.removal_hazards import CONSTANT
from rollout.plan.table import Column
from rollout.plan.value_decisions import decided_value, means_otherwise

# Types of columns that a blank text is a value of.
_TEXTS = ("text", "character varying", "citext")

Stage = Literal["forward", "reverse", "frozen"]


@dataclass(frozen=True)
class ConversionLines:
    """What the function does for one conversion, over the rows ``new`` and ``old``.

    ``changed`` gives the SQL condition that a write changed any of some columns.
    """

    plan: str
    conversion: Conversion
    changed: Callable[[Iterable[str]], sql.Composable]

    @property
    def label(self) -> str:
        """The new columns, as messages name them."""
        return f"{self.conversion.table.label}.{self.conversion.name}"

    @cached_property
    def is_read_changed(self) -> sql.Composable:
        """SQL condition: a write changed a column that the expressions read."""
        return self.changed(self.conversion.reads)

    def led_back(self, stage: Stage) -> list[sql.Composable]:
        """A new value that was written leads; while the legacy side is right, only if alone."""
        back = self.conversion.ways_back
        if not back:
            return []
        is_frozen = stage == "frozen" and bool(self.conversion.drops)
        given: sql.Composable = sql.SQL("")
        alone: sql.Composable = sql.SQL("")
        if stage == "forward":
            alone = sql.SQL(" AND NOT ({})").format(self.is_read_changed)
            given = sql.SQL(" AND NOT {}").format(_any_of(map(self._is_given, back)))
        return [
            *(self._left_to_default() if stage == "forward" else ()),
            *(self._refused() if is_frozen else ()),
            self._noted(stage),
            sql.SQL(
                "  IF ((TG_OP = 'INSERT' AND {present}{given})\n"
                "      OR (TG_OP = 'UPDATE' AND {written}{alone}))\n"
                "      AND {differs} THEN"
            ).format(
                present=self._is_present,
                written=self._is_written,
                given=given,
                alone=alone,
                # What is written after the archive needs no place in it.
                differs=sql.SQL("true") if is_frozen else self._contradicts(),
            ),
            *self._legacy_values(),
            sql.SQL(
                "    IF {} THEN\n      RAISE EXCEPTION USING MESSAGE = {};\n    END IF;"
            ).format(
                self._contradicts(),
                sql.Literal(
                    f"{self.label} was written as a value that {', '.join(back)} cannot tell. "
                    f"Write {', '.join(back)} too, or correct the way back in the plan."
                ),
            ),
            sql.SQL("  END IF;"),
        ]

    def _noted(self, stage: Stage) -> sql.Composable:
        """Lines that note a write of both sides that gave them different meanings."""
        table, given = self.conversion.table, [*map(self._is_given, self.conversion.ways_back)]
        if stage != "forward":
            # What a legacy column defaults to is nobody's word.
            given = [
                sql.SQL("({} AND NOT {})").format(condition, self._is_default(column))
                for column, condition in zip(self.conversion.ways_back, given, strict=True)
            ]
        return sql.SQL(
            "  IF {present} AND ((TG_OP = 'INSERT' AND {given})\n"
            "      OR (TG_OP = 'UPDATE' AND {written} AND ({read_changed})))\n"
            "      AND {differs} THEN\n    {note}\n  END IF;"
        ).format(
            present=self._is_present,
            given=_any_of(given),
            written=self._is_written,
            read_changed=self.is_read_changed,
            differs=self._contradicts(),
            note=noted(
                self.plan,
                table,
                self.conversion.name,
                legacy=_texts_of(self.conversion.ways_back),
                new=_texts_of(self.conversion.added),
            ),
        )

    def _is_given(self, column: str) -> sql.Composable:
        """SQL condition: an INSERT brought a legacy value. Django writes a text that it has no
        value for as a blank one.
        """
        declared = self.conversion.table.columns.get(column)
        if declared is None or not declared.type.startswith(_TEXTS):
            return sql.SQL("{} IS NOT NULL").format(_new(column))
        return sql.SQL("({} <> '') IS TRUE").format(_new(column))

    def followed(self, stage: Stage) -> list[sql.Composable]:
        """Once the new side is right: legacy values written alone are understood still."""
        follow: list[sql.Composable] = []
        if stage == "frozen" and self.conversion.drops:
            follow = [
                sql.SQL("    IF {} THEN").format(self._is_present),
                *self._legacy_values(),
                sql.SQL("    END IF;"),
            ]
        return [
            *self._unwritable(),
            sql.SQL(
                "  IF (TG_OP = 'INSERT' AND {empty})\n"
                "      OR (TG_OP = 'UPDATE' AND {unwritten} AND ({read_changed}){alone}) THEN"
            ).format(
                empty=has_none(self.conversion),
                unwritten=sql.SQL(" AND ").join(
                    sql.SQL("{} IS NOT DISTINCT FROM {}").format(_new(c), _old(c))
                    for c in self.conversion.added
                ),
                read_changed=self.is_read_changed,
                # What just follows a row means that row, whatever else is still to be restored.
                alone=self._is_no_follower
                if stage == "frozen" and not self._is_split
                else sql.SQL(""),
            ),
            *self.evaluated(),
            *follow,
            sql.SQL("  END IF;"),
        ]

    def evaluated(self) -> list[sql.Composable]:
        """Lines that give the new columns their values: none for a row that does not convert."""
        refused: list[sql.Composable] = []
        if self.conversion.refuses:
            # A row that is there already keeps no other column from being written.
            refused = [
                sql.SQL("    IF TG_OP = 'INSERT' OR {} THEN").format(self.is_read_changed),
                sql.SQL(
                    "      RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = {} || SQLERRM;"
                ).format(
                    sql.Literal(
                        f"{self.conversion.table.label}.{', '.join(self.conversion.reads)} does "
                        f"not convert to {self.conversion.name}: "
                    )
                ),
                sql.SQL("    END IF;"),
            ]
        return [
            *((made(self.conversion),) if isinstance(self.conversion, Extract) else ()),
            sql.SQL("  BEGIN"),
            *(
                sql.SQL("    {} := {};").format(_new(column), value)
                for column, value in self.conversion.values("new").items()
            ),
            sql.SQL("  EXCEPTION WHEN OTHERS THEN"),
            *refused,
            *(sql.SQL("    {} := NULL;").format(_new(column)) for column in self.conversion.added),
            *self._decided(),
            sql.SQL("  END;"),
        ]

    def _decided(self) -> list[sql.Composable]:
        """What people decided about a value that does not convert; no error of it is a write's."""
        if not self.conversion.asks_people:
            return []
        return [
            sql.SQL("    BEGIN"),
            *(
                sql.SQL("      {} := {};").format(
                    _new(column), decided_value(self.conversion, self.plan, "new", column)
                )
                for column in self.conversion.added
            ),
            sql.SQL("    EXCEPTION WHEN OTHERS THEN"),
            *(
                sql.SQL("      {} := NULL;").format(_new(column))
                for column in self.conversion.added
            ),
            sql.SQL("    END;"),
        ]

    def _legacy_values(self) -> list[sql.Composable]:
        return [
            sql.SQL("    {} := {};").format(_new(column), value)
            for column, value in self.conversion.legacy_values("new").items()
        ]

    def _left_to_default(self) -> list[sql.Composable]:
        """A new value beside a legacy one that a default gave: nobody says which is meant."""
        drops = self.conversion.drops
        if not drops:
            return []
        return [
            sql.SQL(
                "  IF TG_OP = 'INSERT' AND {present} AND ({default}) AND {differs} THEN\n"
                "    RAISE EXCEPTION USING MESSAGE = {message};\n  END IF;"
            ).format(
                present=self._is_present,
                default=sql.SQL(" OR ").join(map(self._is_meant_default, drops)),
                differs=self._contradicts(),
                message=sql.Literal(
                    f"{self.label} was written without {', '.join(drops)}, whose default means "
                    f"another value. Write {', '.join(drops)} too."
                ),
            )
        ]

    def _refused(self) -> list[sql.Composable]:
        """Legacy values written alone: they are archived, and go."""
        drops = self.conversion.drops
        return [
            sql.SQL(
                "  IF (TG_OP = 'INSERT' AND NOT {present} AND ({given}))\n"
                "      OR (TG_OP = 'UPDATE' AND NOT {written} AND ({legacy_changed}){alone}) THEN\n"
                "    RAISE EXCEPTION USING MESSAGE = {message};\n  END IF;"
            ).format(
                present=self._is_present,
                written=self._is_written,
                # A value that nobody wrote is no writer's of the legacy column.
                given=sql.SQL(" OR ").join(
                    sql.SQL("({} IS NOT NULL AND NOT {})").format(_new(c), self._is_default(c))
                    for c in drops
                ),
                legacy_changed=self.changed(drops),
                alone=self._is_no_follower,
                message=sql.Literal(
                    f"{self.conversion.table.label}.{', '.join(drops)} is being removed: write "
                    f"{self.conversion.name}"
                ),
            )
        ]

    @property
    def _is_split(self) -> bool:
        return isinstance(self.conversion, Extract) and self.conversion.is_split

    @property
    def _is_no_follower(self) -> sql.Composable:
        """SQL of one more condition: a legacy value that changed does not just follow the extracted
        row. Others of the row may still have to be restored.
        """
        if not isinstance(self.conversion, Extract):
            return sql.SQL("")
        return sql.SQL(" AND {}").format(
            _any_of(
                sql.SQL("(({}) AND {} IS DISTINCT FROM {})").format(
                    self.changed([column]), _new(column), value
                )
                for column, value in self.conversion.legacy_values("new").items()
            )
        )

    def _is_meant_default(self, column: str) -> sql.Composable:
        """The same, but for an empty text of an extraction: it means no row, as none does."""
        default = self._is_default(column)
        if not isinstance(self.conversion, Extract):
            return default
        return sql.SQL("({} AND {})").format(self._is_given(column), default)

    def _is_default(self, column: str) -> sql.Composable:
        """SQL condition: a legacy value of the row is the constant that its column defaults to."""
        table = self.conversion.table
        return sql.SQL(
            "EXISTS (SELECT FROM pg_attrdef AS d JOIN pg_attribute AS a"
            " ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
            " CROSS JOIN LATERAL pg_get_expr(d.adbin, d.adrelid) AS e (printed)"
            " WHERE d.adrelid = {table} AND a.attname = {name} AND CASE WHEN e.printed ~ {constant}"
            " AND NOT starts_with(e.printed, 'NULL') THEN {value}::text IS NOT DISTINCT FROM"
            " coalesce(replace(substring(e.printed FROM '^''(.*)''::'), '''''', ''''), e.printed)"
            "::{type}::text END)"
        ).format(
            table=table.regclass,
            name=sql.Literal(column),
            constant=sql.Literal(CONSTANT),
            value=_new(column),
            type=code(table.columns.get(column, Column("text")).type),
        )

    def _contradicts(self, *, refused: str = "true") -> sql.Composable:
        """SQL condition: the new values of row ``new`` are not what its legacy columns say."""
        return means_otherwise(self.conversion, self.plan, "new", refused=refused)

    def _unwritable(self) -> list[sql.Composable]:
        """A value that contradicts the legacy columns would be lost by a rollback."""
        if not self.conversion.is_closed:
            return []
        reads = ", ".join(self.conversion.reads)
        return [
            sql.SQL(
                "  IF ((TG_OP = 'INSERT' AND {present})\n"
                "      OR (TG_OP = 'UPDATE' AND {written})) AND {differs} THEN\n"
                "    RAISE EXCEPTION USING MESSAGE = {message};\n"
                "  END IF;"
            ).format(
                present=self._is_present,
                written=self._is_written,
                differs=self._contradicts(refused="false"),
                message=sql.Literal(
                    f"{self.label} follows {reads or 'its expression'} until the rollout is done. "
                    f"Write {reads or 'no other value'} instead."
                ),
            )
        ]

    @property
    def _is_present(self) -> sql.Composable:
        """SQL condition: the row has a new value."""
        return _any_of(sql.SQL("{} IS NOT NULL").format(_new(c)) for c in self.conversion.added)

    @property
    def _is_written(self) -> sql.Composable:
        """SQL condition: a new value of the row is another than before."""
        return _any_of(
            sql.SQL("{} IS DISTINCT FROM {}").format(_new(c), _old(c))
            for c in self.conversion.added
        )


def has_none(conversion: Conversion) -> sql.Composable:
    """SQL condition: the row ``new`` has no new value."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} IS NULL").format(_new(column)) for column in conversion.added
    )


def _new(column: str) -> sql.Identifier:
    return sql.Identifier("new", column)


def _old(column: str) -> sql.Identifier:
    return sql.Identifier("old", column)


def _texts_of(columns: Iterable[str]) -> sql.Composable:
    """The values of columns of the row ``new`` as one text."""
    return sql.SQL("concat_ws(', ', {})").format(sql.SQL(", ").join(map(_new, columns)))


def _any_of(conditions: Iterable[sql.Composable]) -> sql.Composable:
    """Any of the conditions; in brackets where there are several."""
    listed = list(conditions)
    joined = sql.SQL(" OR ").join(listed)
    return joined if len(listed) == 1 else sql.SQL("({})").format(joined)
