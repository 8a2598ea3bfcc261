"""The model field of a vocabulary: the database has a foreign key, Python sees the text."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from django.core.exceptions import FieldError
from django.db import connections, models
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In, IsNull
from psycopg import sql

from rollout.lookups import UnknownLookup
from rollout.plan.names import code, in_target
from rollout.plan.registry import plans
from rollout.plan.resolvers import resolver_name
from rollout.plan.translations import key_type

# What no lookup row has as its id, in a smallint too. Compared with NULL instead, `exclude` of a
# text that has no row would leave every row out.
_NO_ROW = -32768

_TEXT = "(SELECT lookup_row.name FROM {table} AS lookup_row WHERE lookup_row.id = {column})"
_ID = "(SELECT l.id FROM {table} AS l WHERE l.name = CAST({text} AS text))"
# The text of the problem is no number. The server computes no concat() before it is needed.
_ID_OR_PROBLEM = (
    "(SELECT coalesce(l.id, CAST(concat({problem}, w.v) AS {type}))"
    " FROM (SELECT CAST({text} AS text) AS v) AS w LEFT JOIN {table} AS l ON l.name = w.v"
    " WHERE w.v IS NOT NULL)"
)
_RESOLVED = "(SELECT {resolver}(CAST({text} AS text), {make}))"

_Compiled = tuple[str, list[Any]]


class LookupField(models.CharField):  # type: ignore[type-arg]
    """A text whose column is a foreign key to a lookup table.

    In Python and in expressions it is the text: it is read and written, filtered and ordered,
    counted and serialized as a CharField. ``lookup`` is the lookup table, with ``id`` and ``name``.
    The column is called as that of a ForeignKey would be, unless ``db_column`` says otherwise.

    ``rows`` are lookup rows whose ids are the same in every database: the name by id, or what
    ``Lookup(rows=...)`` takes. They cost no look at the table, and only they may stand in the
    condition of an index or a constraint. A text that has no row is refused when it is saved; with
    ``plan`` that plan's ``Lookup`` says what it means, and makes its row where it may. ``key`` is
    the type of the ids; without it that of the project's DEFAULT_AUTO_FIELD.
    """

    # A change of these alone changes no column.
    non_db_attrs = (*models.CharField.non_db_attrs, "lookup", "rows", "plan", "max_length")

    def __init__(
        self,
        lookup: str,
        verbose_name: str | None = None,
        *,
        rows: Mapping[int, str | Mapping[str, Any]] | None = None,
        plan: str = "",
        key: Literal["", "smallint", "integer", "bigint"] = "",
        **options: Any,
    ) -> None:
        if "db_default" in options:
            raise ValueError(
                "A LookupField takes no db_default. Use default, or a SetDefault step."
            )
        super().__init__(verbose_name, **options)
        self.lookup = lookup
        self.rows = {i: r if isinstance(r, str) else r["name"] for i, r in (rows or {}).items()}
        self.plan = plan
        self.key = key
        self._ids = {name: id_ for id_, name in self.rows.items()}
        if len(self._ids) < len(self.rows):
            raise ValueError(f"Two rows of {lookup} have the same name.")

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs["lookup"] = self.lookup
        for option in ("rows", "plan", "key"):
            if value := getattr(self, option):
                kwargs[option] = value
        return name, path, args, kwargs

    def get_attname_column(self) -> tuple[str, str]:
        return self.get_attname(), self.db_column or f"{self.get_attname()}_id"

    def db_type(self, connection: Any) -> str:
        return key_type(self.key)

    def cast_db_type(self, connection: Any) -> str:
        """Expressions are text, those of ``bulk_update`` too."""
        return "text"

    def get_col(self, alias: str, output_field: Any = None) -> "LookupCol":
        return LookupCol(alias, self, self._text)

    @cached_property
    def _text(self) -> "models.CharField[str, str]":
        return models.CharField(max_length=self.max_length)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """The text of an id, which only raw SQL brings: all other queries ask for the text."""
        if not isinstance(value, int):
            return value
        if value in self.rows:
            return self.rows[value]
        with connections[connection.alias].cursor() as cursor:
            cursor.execute(self._sql(_TEXT, connection, column="%s"), [value])
            row = cursor.fetchone()
        return row[0] if row else None

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if hasattr(value, "as_sql"):
            return _SavedExpression(value, self)
        text = super().get_db_prep_save(value, connection)
        return text if text is None else _SavedText(text, self)

    def id_of_text(self, text: str, connection: Any, *, save: bool) -> _Compiled:
        """SQL of the id of a text, for a column or for a comparison with one."""
        if text in self._ids:
            return "%s", [self._ids[text]]
        return self.id_of_sql("%s", connection, save=save), [text]

    def id_of_sql(self, text: str, connection: Any, *, save: bool) -> str:
        """SQL of the id of what an expression gives."""
        if self.plan and connection.vendor == "postgresql":
            make = "true" if save else "false"
            id_ = self._sql(_RESOLVED, connection, text=text, resolver=self._resolver, make=make)
        elif save and connection.vendor == "postgresql":
            problem = sql.Literal(f"{self.lookup} has no row named ").as_string()
            id_ = self._sql(
                _ID_OR_PROBLEM,
                connection,
                text=text,
                problem=problem.replace("%", "%%"),
                type=self.db_type(connection),
            )
        else:
            id_ = self._sql(_ID, connection, text=text)
        return id_ if save else f"coalesce({id_}, {_NO_ROW})"

    def _sql(self, template: str, connection: Any, **parts: str) -> str:
        parts["table"] = connection.ops.quote_name(self.lookup)
        return code(template).format(**{k: code(part) for k, part in parts.items()}).as_string()

    @cached_property
    def _resolver(self) -> str:
        """The function of the database that says which row a text means."""
        table = self.model._meta.db_table.strip('"').rpartition('"."')[2]
        for lookup in plans.get(self.plan).lookups:
            if (lookup.table.name, lookup.column) == (table, self.column):
                name = in_target(resolver_name(lookup, self.plan)).as_string()
                return name.replace("%", "%%")
        raise UnknownLookup(f"The plan '{self.plan}' has no lookup of {table}.{self.column}.")

    def text_of(self, column: str, connection: Any) -> str:
        """SQL of the text of a column. No parameters: what is grouped by must be written alike."""
        text = self._sql(_TEXT, connection, column=column)
        if not self.rows:
            return text
        cases = "".join(
            f" WHEN {id_} THEN {sql.Literal(name).as_string()}".replace("%", "%%")
            for id_, name in self.rows.items()
        )
        return f"CASE {column}{cases} ELSE {text} END"


class LookupCol(Col):
    """A column of a LookupField: its text, but where ids are compared."""

    target: LookupField

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        if self.alias is None:
            raise FieldError(
                f"An index or constraint cannot use the text of {self.target}: write fields=[...], "
                "or compare it by exact, in or isnull."
            )
        column, params = super().as_sql(compiler, connection)
        return self.target.text_of(column, connection), params

    def get_lookup(self, lookup: str) -> Any:
        return self.target.get_lookup(lookup)


class _SavedText(str):
    """A text on its way to a column, where it becomes an id. Elsewhere in SQL it stays a text."""

    field: LookupField

    def __new__(cls, text: str, field: LookupField) -> "_SavedText":
        saved = super().__new__(cls, text)
        saved.field = field
        return saved

    def as_sql(self, compiler: Any, connection: Any) -> _Compiled:
        return self.field.id_of_text(str(self), connection, save=True)


class _SavedExpression:
    """A text that the database computes, on its way to a column."""

    def __init__(self, expression: Any, field: LookupField) -> None:
        self.expression = expression
        self.field = field

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        text, params = compiler.compile(self.expression)
        return self.field.id_of_sql(text, connection, save=True), params


class _ByIds:
    """A lookup that compares ids where a column is compared with plain texts."""

    lhs: Any
    rhs: Any

    def _is_by_ids(self) -> bool:
        listed = self.rhs if isinstance(self.rhs, Sequence | set | frozenset) else [self.rhs]
        return isinstance(self.lhs, LookupCol) and not any(hasattr(v, "as_sql") for v in listed)

    def process_lhs(self, compiler: Any, connection: Any, lhs: Any = None) -> Any:
        if lhs is None and self._is_by_ids():
            lhs = Col(self.lhs.alias, self.lhs.target)
        return super().process_lhs(compiler, connection, lhs)  # type: ignore[misc]

    def _ids(self, texts: Iterable[str], connection: Any) -> tuple[list[str], list[Any]]:
        field = self.lhs.target
        if self.lhs.alias is None and (
            unknown := [t for t in texts if t not in field.rows.values()]
        ):
            raise FieldError(
                f"An index or constraint compares {field} with '{unknown[0]}', whose id is not "
                "known. Name it in the field's rows, with an id that is the same everywhere."
            )
        compiled = [field.id_of_text(text, connection, save=False) for text in texts]
        return [text for text, _ in compiled], [p for _, params in compiled for p in params]


@LookupField.register_lookup
class _Exact(_ByIds, Exact):
    def process_rhs(self, compiler: Any, connection: Any) -> Any:
        if not self._is_by_ids():
            return super().process_rhs(compiler, connection)
        (text,), params = self._ids([self.rhs], connection)
        return text, params


@LookupField.register_lookup
class _In(_ByIds, In):
    def batch_process_rhs(self, compiler: Any, connection: Any, rhs: Any = None) -> Any:
        if not self._is_by_ids():
            return super().batch_process_rhs(compiler, connection, rhs)
        return self._ids(self.rhs if rhs is None else rhs, connection)


@LookupField.register_lookup
class _IsNull(_ByIds, IsNull):
    pass
