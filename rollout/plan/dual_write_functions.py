"""The PL/pgSQL of the function that the triggers of a dual write call."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from psycopg import sql

from rollout.plan.conflicting_writes import noted
from rollout.plan.conversion_lines import ConversionLines, Stage, has_none
from rollout.plan.conversions import Conversion
from rollout.plan.extractions import Extract, extracts_in
from rollout.plan.names import code, identifier, in_target, normal
from rollout.plan.resolvers import resolver_name
from rollout.plan.table import Table
from rollout.plan.translations import ColumnTranslation, Computed, Lookup

# The first four types have none; citext values that differ in case are equal.
_WITHOUT_EQUALITY = frozenset({"json", "xml", "point", "polygon", "citext"})


def is_compared_as_text(type_: str) -> bool:
    """Whether values of a type have no equality to the letter, so that their texts are compared."""
    return type_.removesuffix("[]").rpartition(".")[2] in _WITHOUT_EQUALITY


@dataclass(frozen=True)
class TriggerFunction:
    """What one table's function does for the translations of one plan, in each stage."""

    plan: str
    table: Table
    translations: tuple[ColumnTranslation, ...]
    computed: tuple[Computed, ...] = ()

    @cached_property
    def lookups(self) -> tuple[Lookup, ...]:
        return tuple(t for t in self.translations if isinstance(t, Lookup))

    @cached_property
    def conversions(self) -> tuple[Conversion, ...]:
        return tuple(t for t in self.translations if isinstance(t, Conversion))

    @cached_property
    def extracts(self) -> tuple[Extract, ...]:
        return extracts_in(self.translations)

    @cached_property
    def _conversion_lines(self) -> list[ConversionLines]:
        return [ConversionLines(self.plan, t, self._columns_changed) for t in self.conversions]

    def to_legacy(self, lookup: Lookup) -> str:
        """The function that gives the legacy text of a lookup row."""
        return identifier(self.plan, self.table.label, lookup.legacy, "text_of")

    def lines(self, stage: Stage) -> list[sql.Composable]:
        """The function's body in a stage."""
        body = self._forward() if stage == "forward" else self._reverse(frozen=stage == "frozen")
        return [*body, *self._outdated(), sql.SQL("  RETURN new;")]

    def update_condition(self, stage: Stage) -> sql.Composable:
        """Either side changed, or the row is unfilled while the legacy side is right."""
        changed = [self._sources_changed(*self.translations, *self.computed)]
        changed += [
            sql.SQL("{} IS DISTINCT FROM {}").format(
                sql.Identifier("old", lookup.column), sql.Identifier("new", lookup.column)
            )
            for lookup in self.lookups
        ]
        changed += [
            sql.SQL("{} IS DISTINCT FROM {}").format(
                sql.Identifier("old", column), sql.Identifier("new", column)
            )
            for conversion in self.conversions
            if conversion.ways_back or (stage != "forward" and conversion.is_closed)
            for column in conversion.added
        ]
        if stage == "forward":
            changed.append(self._unfilled())
        return sql.SQL(" OR ").join(changed)

    def _names(self, lookup: Lookup) -> dict[str, sql.Composable]:
        """What the lines of a trigger's function call a lookup's columns and functions."""
        return {
            "new_column": sql.Identifier("new", lookup.column),
            "old_column": sql.Identifier("old", lookup.column),
            "new_legacy": sql.Identifier("new", lookup.legacy),
            "given": lookup.text(sql.Identifier("new", lookup.legacy)),
            "was": lookup.text(sql.Identifier("old", lookup.legacy)),
            "to_new": in_target(resolver_name(lookup, self.plan)),
            "to_legacy": in_target(self.to_legacy(lookup)),
            "no_text": lookup.no_text,
            "blank": sql.SQL("{} = ''").format(normal(lookup.legacy_text("new"))),
            "default": self._is_default(lookup),
            "note": noted(
                self.plan,
                self.table,
                lookup.column,
                legacy=lookup.text(sql.Identifier("new", lookup.legacy)),
                new=sql.Identifier("new", lookup.column),
            ),
        }

    def _forward(self) -> list[sql.Composable]:
        lines: list[sql.Composable] = []
        for lookup in self.lookups:
            lines += self._forward_of(lookup)
        for conversion in self._conversion_lines:
            lines += conversion.led_back("forward")
        for conversion in self._conversion_lines:
            lines += conversion.evaluated()
        return lines

    def _forward_of(self, lookup: Lookup) -> list[sql.Composable]:
        """A foreign key that was written without its text leads; else the text does.

        A new text whose lookup row another transaction is just making is left to be filled in.
        """
        names = self._names(lookup)
        fill = names | {
            "text_means": sql.SQL("{to_new} ({given}, wait => false)").format(**names),
            "refusal": sql.Literal(
                f"{self.table.label}.{lookup.column} was written without {lookup.legacy}, whose "
                f"default means another row. Write {lookup.legacy} too."
            ),
            "decided": sql.Literal(
                f"{self.table.label}.{lookup.column} was written as a row of {lookup.lookup_label} "
                "whose name means another row, as people decided. Write the row that they chose."
            ),
        }
        return [
            code(line).format(**fill)
            for line in (
                "  IF {new_column} IS NOT NULL AND (TG_OP = 'INSERT'",
                "      OR {new_column} IS DISTINCT FROM {old_column})",
                "      AND {new_column} IS DISTINCT FROM {text_means} THEN",
                "    IF {blank} OR (TG_OP = 'UPDATE'",
                "        AND {given} IS NOT DISTINCT FROM {was}) THEN",
                "      {new_legacy} := {to_legacy} ({new_column}, {given});",
                "      IF {new_column} IS DISTINCT FROM {text_means} THEN",
                "        RAISE EXCEPTION USING MESSAGE = {decided};",
                "      END IF;",
                "    ELSIF TG_OP = 'INSERT' AND {default} THEN",
                "      RAISE EXCEPTION USING MESSAGE = {refusal};",
                "    ELSE",
                "      {note}",
                "    END IF;",
                # To remove a value, or because it was read before the row was filled in: nothing
                # tells them apart.
                "  ELSIF TG_OP = 'UPDATE' AND {new_column} IS NULL AND {old_column} IS NOT NULL",
                "      AND {given} IS NOT DISTINCT FROM {was} AND {text_means} IS NOT NULL THEN",
                "      {note}",
                "  END IF;",
                "  {new_column} := {text_means};",
            )
        ]

    def _is_default(self, lookup: Lookup) -> sql.Composable:
        """SQL condition: the text of the row ``new`` is the constant that the column defaults to.

        Nothing else tells a text that was left to its default from one that was written.
        """
        return sql.SQL(
            "EXISTS (SELECT FROM pg_attrdef AS d JOIN pg_attribute AS a"
            " ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
            " WHERE d.adrelid = {} AND a.attname = {}"
            # PostgreSQL prints a constant so, never with the E before it that quote_literal writes.
            " AND starts_with(pg_get_expr(d.adbin, d.adrelid),"
            "   '''' || replace({}, '''', '''''') || '''::'))"
        ).format(
            self.table.regclass,
            sql.Literal(lookup.legacy),
            lookup.text(sql.Identifier("new", lookup.legacy)),
        )

    def _reverse(self, *, frozen: bool) -> list[sql.Composable]:
        lines: list[sql.Composable] = []
        for lookup in self.lookups:
            names = self._names(lookup) | {
                "refusal": sql.Literal(
                    f"{self.table.label}.{lookup.legacy} is being removed: write {lookup.column}"
                ),
            }
            refuse = "RAISE EXCEPTION USING MESSAGE = {refusal};"
            legacy_alone = refuse if frozen else "{new_column} := {to_new} ({given});"
            # An archive is made of what is there: text from now on says no more than its row.
            spelling = "NULL" if frozen else "{given}"
            other = "NOT ({blank}) AND {to_new} ({given}, false) IS DISTINCT FROM {new_column}"
            follow = (
                f"{{new_legacy}} := {{to_legacy}} ({{new_column}}, {spelling});",
                # People may have decided since that the text of the row means another row.
                "{new_column} := {to_new} ({given});",
            )
            lines += [
                code(line).format(**names)
                for line in (
                    "  IF TG_OP = 'INSERT' THEN",
                    # A text that nobody wrote is no writer's of the legacy column.
                    "    IF {new_column} IS NULL AND {new_legacy} IS NOT NULL"
                    f"{' AND NOT {default}' if frozen else ''} THEN",
                    f"      {legacy_alone}",
                    *(
                        (
                            "    ELSIF {new_column} IS NULL AND {new_legacy} IS NOT NULL THEN",
                            "      {new_column} := {to_new} ({given});",
                            *(f"      {line}" for line in follow),
                        )
                        if frozen
                        else ()
                    ),
                    "    ELSIF {new_column} IS NULL THEN",
                    "      {new_column} := {to_new} ({given});",
                    "      {new_legacy} := {no_text};",
                    "    ELSE",
                    f"      IF {other} AND NOT {{default}} THEN",
                    "        {note}",
                    "      END IF;",
                    *(f"      {line}" for line in follow),
                    "    END IF;",
                    "  ELSIF {new_column} IS DISTINCT FROM {old_column} THEN",
                    f"    IF {{given}} IS DISTINCT FROM {{was}} AND {other} THEN",
                    "      {note}",
                    "    END IF;",
                    *(f"    {line}" for line in follow),
                    "  ELSIF {given} IS DISTINCT FROM {was} THEN",
                    f"    {legacy_alone}",
                    "  END IF;",
                )
            ]
        for conversion in self._conversion_lines:
            lines += conversion.led_back("frozen" if frozen else "reverse")
        for conversion in self._conversion_lines:
            lines += conversion.followed("frozen" if frozen else "reverse")
        return lines

    def _outdated(self) -> list[sql.Composable]:
        """Computed columns whose sources a write changed, and which it brought no values for."""
        lines: list[sql.Composable] = []
        for computed in self.computed:
            kept = sql.SQL(" AND ").join(
                sql.SQL("{} IS NOT DISTINCT FROM {}").format(
                    sql.Identifier("new", column), sql.Identifier("old", column)
                )
                for column in computed.columns
            )
            lines.append(
                sql.SQL("  IF TG_OP = 'UPDATE' AND ({}) AND {} THEN").format(
                    self._sources_changed(computed), kept
                )
            )
            lines += [
                sql.SQL("    {} := NULL;").format(sql.Identifier("new", column))
                for column in computed.columns
            ]
            lines.append(sql.SQL("  END IF;"))
        return lines

    def _sources_changed(self, *translations: ColumnTranslation | Computed) -> sql.Composable:
        return self._columns_changed(
            dict.fromkeys(column for t in translations for column in t.reads)
        )

    def _columns_changed(self, columns: Iterable[str]) -> sql.Composable:
        changes = [
            sql.SQL("{}{cast} IS DISTINCT FROM {}{cast}").format(
                sql.Identifier("old", column),
                sql.Identifier("new", column),
                cast=sql.SQL("::text" if self._is_compared_as_text(column) else ""),
            )
            for column in columns
        ]
        return sql.SQL(" OR ").join(changes) if changes else sql.SQL("false")

    def _is_compared_as_text(self, column: str) -> bool:
        declared = self.table.columns.get(column)
        return (declared is not None and is_compared_as_text(declared.type)) or any(
            lookup.legacy == column and not lookup.is_text for lookup in self.lookups
        )

    def _unfilled(self) -> sql.Composable:
        """A row is filled in all its columns at once, so a required one that is null tells it.

        Where no column is required, only the values themselves can tell.
        """
        if not self.translations:
            return sql.SQL("false")
        required = [t for t in self.translations if t.required]
        if required:
            return sql.SQL(" OR ").join(
                sql.SQL("{} IS NULL").format(sql.Identifier("new", column))
                for t in required
                for column in t.added
            )
        return sql.SQL(" OR ").join(
            [
                sql.SQL("({} IS NULL AND {} IS NOT NULL)").format(
                    sql.Identifier("new", t.column), sql.Identifier("new", t.legacy)
                )
                for t in self.lookups
            ]
            # What an expression says is for the function to ask: here it would fail the write.
            + [has_none(t) for t in self.conversions]
        )
