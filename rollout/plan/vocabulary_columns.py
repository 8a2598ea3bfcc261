"""The conversion of a text column into one that holds the values of a vocabulary and no others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from psycopg import sql

from rollout.plan.enum_types import EnumType
from rollout.plan.hazards import MAX_COUNTED, MAX_LISTED, Hazard
from rollout.plan.kept_columns import KeptColumn
from rollout.plan.names import identifier, normal
from rollout.plan.table import Column, Table

# A text outside of the vocabulary raises an error that names it. An enum type has its own; without
# one, these words and the text are cast to a boolean.
_REFUSED = "not one of the values: "
_ADVICE = {
    "quarantine": "Add synonyms to the plan; or decide about each on the page of values that do "
    "not convert, once phase 2 has run.",
    "null": "The column stays empty in these rows. To keep a value, add it or a synonym to the "
    "plan.",
    "refuse": "Correct these rows, or add synonyms to the plan.",
}


@dataclass(frozen=True, kw_only=True)
class VocabularyColumn(KeptColumn):
    """A text column that becomes one of the same name with the values of a vocabulary.

    It is the one that a ``ToEnum`` or a ``ToCheck`` makes.
    """

    vocabulary: tuple[str, ...]
    """The values."""
    synonyms: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Texts that mean one of them, besides its own spellings."""
    enum: EnumType | None = None
    """The enum type of the new column; None where a CHECK keeps it to the values."""
    # Which texts the expression refuses is known; an enum type is there only from phase 1 on.
    is_tried = False

    @property
    def of_legacy(self) -> Column:
        """The legacy column; nullable text where the table does not declare it."""
        return self.table.columns.get(self.legacy[0], Column("text"))

    @property
    def outside(self) -> Hazard:
        """The texts that mean none of the values, each with its number of rows."""
        (legacy,) = self.legacy
        name, label = sql.Identifier("t", legacy), f"{self.table.label}.{legacy}"
        known = [sql.SQL("lower({})").format(sql.Literal(t)) for t in self._texts()]
        return Hazard(
            name=f"vocabulary of {label}",
            sql=sql.SQL(
                "SELECT count(*), array_to_string((array_agg(v))[1:{listed}], ', ')"
                " FROM (SELECT format('%s (%s rows)', {name}, count(*)) AS v FROM {table} AS t"
                " WHERE {normal} <> ALL (ARRAY['', {known}]) GROUP BY {name}"
                " ORDER BY count(*) DESC, {name} LIMIT {most}) AS found"
            ).format(
                listed=sql.Literal(MAX_LISTED),
                most=sql.Literal(MAX_COUNTED),
                name=name,
                table=self.table.identifier,
                normal=normal(name),
                known=sql.SQL(", ").join(known),
            ),
            finding=f"{{count}} values of {label} are outside of the vocabulary.",
            none=f"Every value of {label} is in the vocabulary.",
            advice=_ADVICE[self.unconvertible],
            reads=self.table.label,
            blocks=self.refuses,
            stays=True,
        )

    def _texts(self) -> tuple[str, ...]:
        return (*self.vocabulary, *self.synonyms)


def limited(
    *,
    table: Table,
    column: str,
    values: tuple[str, ...],
    synonyms: Mapping[str, str],
    enum: EnumType | None,
    required: bool,
    unconvertible: Literal["quarantine", "null", "refuse"],
) -> VocabularyColumn:
    """The conversion of a text column into one of these values that takes its name."""
    declared = table.columns.get(column, Column("text"))
    new = identifier(column, "enum" if enum else "checked")
    written = f"{{{new}}}::text" if enum else f"{{{new}}}"
    outside = f"{{{column}}}" if enum else f"({_literal(_REFUSED)} || {{{column}}})::boolean::text"
    return VocabularyColumn(
        table=table,
        legacy=(column,),
        columns={new: Column(enum.type if enum else declared.type)},
        forward={new: _forward(column, values, synonyms, outside)},
        backward={column: written if declared.null else f"coalesce({written}, '')"},
        required=required,
        unconvertible=unconvertible,
        keeps_name=True,
        vocabulary=values,
        synonyms=synonyms,
        enum=enum,
    )


def _forward(
    column: str, values: tuple[str, ...], synonyms: Mapping[str, str], outside: str
) -> str:
    """The value that a text means, whatever its case and white space; no text means no value."""
    meanings = {**{value: value for value in values}, **synonyms}
    blank = "NULL"
    if "" in synonyms:
        blank = _literal(synonyms[""])
    elif "" in values:
        blank = f"CASE WHEN {{{column}}} IS NOT NULL THEN '' END"
    cases = [
        f"WHEN lower({_literal(text)}) THEN {_literal(value)}"
        for text, value in meanings.items()
        if text
    ]
    return f"CASE {{{column}:normal}} WHEN '' THEN {blank} {' '.join(cases)} ELSE {outside} END"


def condition_of(column: str, values: Iterable[str]) -> str:
    """The condition that a column holds one of these values, for a CHECK."""
    return f"{{{column}}} IN ({', '.join(map(_literal, values))})"


def _literal(text: str) -> str:
    """A text as SQL for an expression, in which single braces are those of columns."""
    return sql.Literal(text).as_string().strip().replace("{", "{{").replace("}", "}}")


def enums_of(translations: Iterable[object]) -> dict[str, tuple[str, ...]]:
    """By enum type that translations make, its values."""
    columns = [t for t in translations if isinstance(t, VocabularyColumn)]
    return {column.enum.type: column.enum.values for column in columns if column.enum}
