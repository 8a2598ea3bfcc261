"""Writes a first plan for a live table: the text of an app's ``rollout.py``."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from django.template.loader import render_to_string

from rollout.engine.column_groups import ColumnGroup
from rollout.engine.introspections import Index, TableInfo, Texts
from rollout.logs.texts import counted
from rollout.plan.names import MAX_LOOKUP_CHARACTERS, identifier
from rollout.plan.table import Column
from rollout.plan.translations import Lookup
from rollout.queries.scaffold_parts import CannotScaffold, Replaced, Scaffold, Translation
from rollout.queries.scaffold_texts import (
    constant_of,
    counts_of,
    free,
    listed,
    plural,
    python_text,
    slug,
    wrapped,
)
from rollout.queries.scaffold_wide_keys import wide_key_scaffold

# More would be too many for people to choose from.
_MAX_FORMS = 500
# The new column's name, by the type that its texts look like.
_CONVERTED = {
    "boolean": "is_{}",
    "bigint": "{}_number",
    "numeric": "{}_number",
    "date": "{}_date",
    "timestamp without time zone": "{}_at",
    "timestamp with time zone": "{}_at",
}
_FALSE = frozenset({"no", "n", "false", "f", "0", "off"})
_TRUE = frozenset({"yes", "y", "true", "t", "1", "on"})
_NAMES = {"r", "timedelta", "TABLE", "PLAN", "PREPARE", "EXPAND", "BACKFILL", "ENFORCE", "CONTRACT"}


def scaffold(live: TableInfo, columns: tuple[str, ...], *, today: date) -> Scaffold:
    """A plan that migrates columns of a table. Raises CannotScaffold."""
    return _Author(live, tuple(dict.fromkeys(columns)), today).scaffold()


class _Author:
    def __init__(self, live: TableInfo, columns: tuple[str, ...], today: date) -> None:
        self.live = live
        self.table = live.table
        self.columns = columns
        self.today = today
        self.taken_columns = set(live.taken_columns)
        self.taken_relations = set(live.taken_relations)
        self.taken_names = set(_NAMES)
        self.notes: list[str] = []

    def scaffold(self) -> Scaffold:
        if self.live.narrow:
            return wide_key_scaffold(self.live, self.today)
        for column in self.columns:
            self._refuse(column)
        translations = list(self._translations())
        lookups = [t for t in translations if t.is_lookup]
        extracts = [t for t in translations if t.group]
        dropping = [t for t in translations if t.drops]
        replaced, left_alone = self._indexes(dropping)
        name = slug(f"{self.table.name}-{'-'.join(self.columns)}")
        title = f"{self.table.label}: {', '.join(self.columns)}"
        source = render_to_string(
            "rollout/scaffold.py-tpl",
            {
                "today": self.today.isoformat(),
                "table": self.table,
                "translations": translations,
                "constants": listed(t.constant for t in translations),
                "lookups": lookups,
                "extracts": extracts,
                "references": [*lookups, *extracts],
                "dropping": dropping,
                "keys": self._keys(),
                "required": tuple(t.new for t in translations if t.required),
                "replaced": replaced,
                "left_alone": left_alone,
                "plan": name,
                "title": title,
                "heading": title.replace("\\", "").replace('"', ""),
                "description": f"Migrate {title}.",
            },
        )
        return Scaffold(name, source, tuple(self.notes))

    def _refuse(self, column: str) -> None:
        label = f"{self.table.label}.{column}"
        type_ = self.table.columns[column].type
        if not self.table.key:
            raise CannotScaffold(
                f"{self.table.label} has no primary key, which identifies rows. Add one first."
            )
        if column in self.table.key:
            raise CannotScaffold(
                f"{label} is part of the primary key, which must not change. Leave it out, or name "
                "an integer alone to make it bigint."
            )
        if column in self.live.generated:
            raise CannotScaffold(f"{label} is generated. Name its source columns instead.")
        if column in self.live.loosely_compared:
            raise CannotScaffold(
                f"{label} has a non-deterministic collation, which makes different texts equal. "
                'Change it in a migration first: TYPE text COLLATE "default".'
            )
        if re.fullmatch(r"character(\(\d+\))?", type_):
            raise CannotScaffold(
                f"{label} is {type_}, which ignores trailing spaces. Convert it to text in a "
                "migration first."
            )

    def _translations(self) -> Iterator[Translation]:
        unique = {c for index in self.live.indexes if index.unique for c in index.covers}
        group_of = {
            column: group
            for group in self.live.groups
            # The rows of a table of their own would not be unique as the columns are.
            if unique.isdisjoint(group.columns)
            for column in group.columns
        }
        for column in self.columns:
            group = group_of.get(column)
            if group is None:
                yield self._translation(column)
            elif column == group.columns[0]:
                yield self._extract(group)

    def _extract(self, group: ColumnGroup) -> Translation:
        for column in group.columns:
            self._refuse_to_name(column)
        words = f"{', '.join(group.columns)} have {group.groups:,} different groups of values"
        note = f"{words} in {group.rows:,} rows: a table of their own, told apart by {group.key}."
        if group.conflicts:
            have = "has" if group.conflicts == 1 else "have"
            note += (
                f" {group.conflicts:,} of its values {have} more than one group: the most frequent "
                "is kept, the others are archived."
            )
        self.notes.append(note)
        return Translation(
            constant=self._constant(group.prefix),
            column=group.columns[0],
            new=free(f"{group.prefix}_id", self.taken_columns),
            comments=wrapped(note),
            lookup_table=free(f"{self.table.name}_{plural(group.prefix)}", self.taken_relations),
            group=group,
            required=not group.empty and not group.in_part,
        )

    def _translation(self, column: str) -> Translation:
        of, texts = self.table.columns[column], self.live.texts.get(column)
        if texts is None:
            return self._copy(column, of)
        if (
            texts.kind
            and Lookup(table=self.table, legacy=column, column="", lookup_table="").is_text
        ):
            return self._converted(column, of, texts)
        if (
            texts.longest > MAX_LOOKUP_CHARACTERS
            or texts.forms > _MAX_FORMS
            or (texts.rows > 100 and texts.forms > texts.rows / 4)
        ):
            return self._tidy(column, texts)
        return self._lookup(column, texts)

    def _converted(self, column: str, of: Column, texts: Texts) -> Translation:
        type_ = "date" if texts.kind == "dotted date" else texts.kind
        new = _CONVERTED[type_].format(column)
        forward, backward = f"nullif(btrim({{{column}}}), '')::{type_}", "{new}"
        if texts.kind == "dotted date":
            forward = f"to_date(nullif(btrim({{{column}}}), ''), 'DD.MM.YYYY')"
            backward = "to_char({new}, 'DD.MM.YYYY')"
        elif type_ == "boolean":
            yes, no = (
                next((text for text in texts.frequent if text in words), usual)
                for words, usual in ((_TRUE, "yes"), (_FALSE, "no"))
            )
            backward = f"CASE WHEN {{new}} THEN '{yes}' WHEN NOT {{new}} THEN '{no}' END"
        comment = f"{counts_of(texts)}: {type_} in text."
        if texts.unlike:
            examples = ", ".join(map(python_text, texts.unlike_examples))
            unlike = f"{counted(texts.unlike, 'row')} will not convert, for example {examples}"
            comment += f" {unlike}: people decide before phase 3."
            self.notes.append(f"{column} is {type_} in text: {unlike}.")
        translation = self._derived(
            *(column, new, type_, forward, comment),
            required=not of.null and not texts.blank and not texts.in_part,
        )
        # The name may have got a number.
        return replace(translation, backward=backward.replace("{new}", f"{{{translation.new}}}"))

    def _keys(self) -> list[str]:
        """Comments on integer keys of which much is used up."""
        notes = [
            f"{key.sentences} Widen it in time, by a plan of its own with a WidenKey: name this "
            "column alone, and the scaffold writes it."
            for key in self.live.integer_keys
            if key.is_notable
        ]
        self.notes += notes
        return [line for note in notes for line in wrapped(note)]

    def _lookup(self, column: str, texts: Texts) -> Translation:
        new = free(f"{column}_id", self.taken_columns)
        longest = Lookup(table=self.table, legacy=column, column=new, lookup_table="").longest
        comments = [f"{counts_of(texts)}: a lookup."]
        if texts.frequent:
            comments += wrapped(f"Most common: {', '.join(map(python_text, texts.frequent))}.")
        return Translation(
            constant=self._constant(column),
            column=column,
            new=new,
            comments=comments,
            lookup_table=free(f"{self.table.name}_{plural(column)}", self.taken_relations),
            blank=self._blank(column, texts, longest),
        )

    def _blank(self, column: str, texts: Texts, longest: int) -> str | None:
        """The name of the lookup row for blank texts; None where there can be none."""
        if not self.table.columns[column].null and not texts.blank and not texts.in_part:
            return None
        return next(n for n in ("Unspecified", "Unknown", "None", "?") if len(n) <= longest)

    def _tidy(self, column: str, texts: Texts) -> Translation:
        self.notes.append(
            f"{column} has {texts.forms:,} distinct values, too many for a lookup. The plan "
            "derives a trimmed text from it: edit its expression."
        )
        return self._derived(
            *(column, f"{column}_tidy", "text", f"nullif(btrim({{{column}}}), '')"),
            f"{counts_of(texts)}: too many for a lookup. Edit the expression.",
            required=False,
        )

    def _copy(self, column: str, of: Column) -> Translation:
        self.notes.append(f"{column} is {of.type}, not text. Edit the copy's type and expression.")
        return self._derived(
            *(column, f"{column}_new", of.type, f"{{{column}}}"),
            "Not text: copied as is. Edit type and expression.",
            required=not of.null,
        )

    def _derived(
        self,
        column: str,
        new: str,
        type_: str,
        expression: str,
        comment: str,
        *,
        required: bool = True,
    ) -> Translation:
        self._refuse_to_name(column)
        return Translation(
            constant=self._constant(column),
            column=column,
            new=free(new, self.taken_columns),
            comments=wrapped(comment),
            type=type_,
            expression=expression,
            required=required,
        )

    def _refuse_to_name(self, column: str) -> None:
        if re.search(r"[{}:!]", column):
            raise CannotScaffold(
                f"An expression cannot name the column {column!r}: it contains a brace, a colon or "
                "an exclamation mark. Leave it out."
            )

    def _indexes(self, dropping: list[Translation]) -> tuple[list[Replaced], list[str]]:
        """The indexes to rebuild, and comments on those that are dropped with their column."""
        new = {column: t.new for t in dropping for column in t.legacy}
        replaced: list[Replaced] = []
        left_alone: list[str] = []
        for index in self.live.indexes:
            if not new.keys() & index.covers:
                continue
            if index.of_constraint or not index.plain:
                left_alone += self._left_alone(index)
            if not index.plain or (index.of_constraint and not index.unique):
                continue
            columns = tuple(dict.fromkeys(new.get(column, column) for column in index.columns))
            builds = not any(
                columns == other.new_columns and (other.unique or not index.unique)
                for other in replaced
            )
            wanted = identifier(self.table.name, *columns, "idx")
            replaced.append(
                Replaced(
                    name=index.name,
                    columns=index.columns,
                    new_name=free(wanted, self.taken_relations),
                    new_columns=columns,
                    unique=index.unique,
                    of_constraint=index.of_constraint,
                    builds=builds,
                )
            )
        return replaced, left_alone

    def _left_alone(self, index: Index) -> list[str]:
        what = "constraint" if index.of_constraint else "index"
        self.notes.append(
            f"The {what} {index.name} is dropped with its legacy column; the rollback restores it. "
            "Add a step for its replacement."
        )
        return wrapped(f"Dropped with its column: {index.definition}")

    def _constant(self, column: str) -> str:
        return free(constant_of(column), self.taken_names)
