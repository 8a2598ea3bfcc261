"""Writes a first plan for a live table: the text of an app's ``rollout.py``."""

import json
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from django.template.loader import render_to_string

from rollout.engine.introspections import Index, TableInfo, Texts
from rollout.plan.errors import RolloutError
from rollout.plan.names import MAX_LOOKUP_CHARACTERS, identifier
from rollout.plan.table import Column
from rollout.plan.translations import Lookup

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


class CannotScaffold(RolloutError):
    """The table or a column cannot be migrated as it is; the message says what to do."""


@dataclass(frozen=True)
class Scaffold:
    """A first plan: its name, its source, and notes for its author."""

    plan: str
    source: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Translation:
    """A translation for the template. A conversion has ``backward``, and as ``expression`` the
    way forward; a derived one has no way back."""

    constant: str
    column: str
    new: str
    comments: list[str]
    required: bool = True
    lookup_table: str = ""
    blank: str | None = ""
    type: str = ""
    expression: str = ""
    backward: str = ""

    @property
    def drops(self) -> bool:
        """Whether phase 4 drops its legacy column."""
        return self.is_lookup or bool(self.backward)

    @property
    def is_lookup(self) -> bool:
        return bool(self.lookup_table)

    @property
    def create_id(self) -> str:
        return f"create-{_slug(self.lookup_table)}"

    @property
    def create_description(self) -> str:
        return f"Create lookup table: {self.lookup_table}"

    @property
    def key_id(self) -> str:
        return f"{_slug(self.new)}-key"

    @property
    def key_description(self) -> str:
        return f"Add foreign key: {self.new}"


@dataclass(frozen=True, kw_only=True)
class _Replaced:
    """An index of legacy columns and its replacement.

    A constraint's index is dropped with its column: no step drops it.
    """

    name: str
    columns: tuple[str, ...]
    new_name: str
    new_columns: tuple[str, ...]
    unique: bool
    of_constraint: bool

    @property
    def drop_id(self) -> str:
        return f"drop-{_slug(self.name)}"

    @property
    def drop_description(self) -> str:
        return f"Drop index {self.name}"

    @property
    def build_id(self) -> str:
        return f"build-{_slug(self.new_name)}"

    @property
    def build_description(self) -> str:
        return f"Create index {self.new_name}"


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
        for column in self.columns:
            self._refuse(column)
        translations = [self._translation(column) for column in self.columns]
        lookups = [t for t in translations if t.is_lookup]
        dropping = [t for t in translations if t.drops]
        replaced, left_alone = self._indexes(dropping)
        name = _slug(f"{self.table.name}-{'-'.join(self.columns)}")
        title = f"{self.table.label}: {', '.join(self.columns)}"
        source = render_to_string(
            "rollout/scaffold.py-tpl",
            {
                "today": self.today.isoformat(),
                "table": self.table,
                "translations": translations,
                "constants": _tuple(t.constant for t in translations),
                "lookups": lookups,
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
                f"{label} is part of the primary key, which must not change. Leave it out."
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

    def _translation(self, column: str) -> _Translation:
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

    def _converted(self, column: str, of: Column, texts: Texts) -> _Translation:
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
        comment = f"{_counts(texts)}: {type_} in text."
        if texts.unlike:
            unlike = (
                f"{texts.unlike:,} row{'' if texts.unlike == 1 else 's'} will not convert, for "
            )
            unlike += f"example {', '.join(map(python_text, texts.unlike_examples))}"
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
            f"{key.sentences} Widen it in time, by a plan of its own with a WidenKey."
            for key in self.live.integer_keys
            if key.is_notable
        ]
        self.notes += notes
        return [line for note in notes for line in _wrapped(note)]

    def _lookup(self, column: str, texts: Texts) -> _Translation:
        new = _free(f"{column}_id", self.taken_columns)
        longest = Lookup(table=self.table, legacy=column, column=new, lookup_table="").longest
        comments = [f"{_counts(texts)}: a lookup."]
        if texts.frequent:
            comments += _wrapped(f"Most common: {', '.join(map(python_text, texts.frequent))}.")
        return _Translation(
            constant=self._constant(column),
            column=column,
            new=new,
            comments=comments,
            lookup_table=_free(f"{self.table.name}_{_plural(column)}", self.taken_relations),
            blank=self._blank(column, texts, longest),
        )

    def _blank(self, column: str, texts: Texts, longest: int) -> str | None:
        """The name of the lookup row for blank texts; None where there can be none."""
        if not self.table.columns[column].null and not texts.blank and not texts.in_part:
            return None
        return next(n for n in ("Unspecified", "Unknown", "None", "?") if len(n) <= longest)

    def _tidy(self, column: str, texts: Texts) -> _Translation:
        self.notes.append(
            f"{column} has {texts.forms:,} distinct values, too many for a lookup. The plan "
            "derives a trimmed text from it: edit its expression."
        )
        return self._derived(
            *(column, f"{column}_tidy", "text", f"nullif(btrim({{{column}}}), '')"),
            f"{_counts(texts)}: too many for a lookup. Edit the expression.",
            required=False,
        )

    def _copy(self, column: str, of: Column) -> _Translation:
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
    ) -> _Translation:
        if re.search(r"[{}:!]", column):
            raise CannotScaffold(
                f"An expression cannot name the column {column!r}: it contains a brace, a colon or "
                "an exclamation mark. Leave it out."
            )
        return _Translation(
            constant=self._constant(column),
            column=column,
            new=_free(new, self.taken_columns),
            comments=_wrapped(comment),
            type=type_,
            expression=expression,
            required=required,
        )

    def _indexes(self, dropping: list[_Translation]) -> tuple[list[_Replaced], list[str]]:
        """The indexes to rebuild, and comments on those that are dropped with their column."""
        new = {t.column: t.new for t in dropping}
        replaced: list[_Replaced] = []
        left_alone: list[str] = []
        for index in self.live.indexes:
            if not new.keys() & index.covers:
                continue
            if index.of_constraint or not index.plain:
                left_alone += self._left_alone(index)
            if not index.plain or (index.of_constraint and not index.unique):
                continue
            columns = tuple(new.get(column, column) for column in index.columns)
            wanted = identifier(self.table.name, *columns, "idx")
            replaced.append(
                _Replaced(
                    name=index.name,
                    columns=index.columns,
                    new_name=_free(wanted, self.taken_relations),
                    new_columns=columns,
                    unique=index.unique,
                    of_constraint=index.of_constraint,
                )
            )
        return replaced, left_alone

    def _left_alone(self, index: Index) -> list[str]:
        what = "constraint" if index.of_constraint else "index"
        self.notes.append(
            f"The {what} {index.name} is dropped with its legacy column; the rollback restores it. "
            "Add a step for its replacement."
        )
        return _wrapped(f"Dropped with its column: {index.definition}")

    def _constant(self, column: str) -> str:
        word = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_").upper()
        return _free(word if word[:1].isalpha() else f"COLUMN_{word}", self.taken_names)


def _free(wanted: str, taken: set[str]) -> str:
    """The name, with a number if it is taken; it is taken from now on."""
    name, number = identifier(wanted), 1
    while name in taken:
        number += 1
        name = identifier(wanted, str(number))
    taken.add(name)
    return name


def _counts(texts: Texts) -> str:
    rows = f"the first {texts.rows:,} rows" if texts.in_part else f"{texts.rows:,} rows"
    return (
        f"{texts.distinct:,} spellings of {texts.forms:,} values in {rows}, {texts.blank:,} of "
        "them blank"
    )


def _wrapped(comment: str) -> list[str]:
    return textwrap.wrap(comment, 84, break_long_words=False, break_on_hyphens=False)


def python_text(value: object) -> str:
    """A text, a tuple of texts or None as Python writes it; texts in double quotes."""
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return _tuple(map(python_text, value))
    return json.dumps(value, ensure_ascii=False)


def _tuple(values: Iterable[str]) -> str:
    listed = list(values)
    return f"({', '.join(listed)}{',' if len(listed) == 1 else ''})"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "plan"


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}s"
