"""What the operations of a project's migrations do to tables and columns of its database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import truncate_name
from django.db.migrations import operations as of
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.state import ModelState, ProjectState

from rollout.plan.names import MAX_IDENTIFIER_BYTES

Verb = Literal["makes", "drops", "renames", "alters", "seems to change"]

# Options of a field that do not concern the database, besides those that Django knows.
_OF_PYTHON_ALONE = frozenset({"default", "auto_now", "auto_now_add", "upload_to", "storage"})
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r'"((?:[^"]|"")+)"|([\w$]+)')
_CHANGES = frozenset({"alter", "drop", "rename"})
_WHOLE_TABLE = re.compile(r"\bdrop\s+table\b|\brename\s+to\b|\bset\s+schema\b", re.IGNORECASE)


@dataclass(frozen=True)
class Effect:
    """What an operation does to a column; to the whole table where the column is empty.

    A table is named as SQL names it: ``schema.table``, or ``table`` where the search path leads.
    """

    verb: Verb
    table: str
    column: str = ""


@dataclass
class Reading:
    """Reads operations for one database, in the order in which they are applied.

    ``names`` are the tables and columns to look for in SQL; the tables by how SQL names them.
    """

    connection: BaseDatabaseWrapper
    names: Mapping[str, frozenset[str]]
    state: ProjectState = field(default_factory=ProjectState)

    def read(self, app: str, operation: Operation) -> Iterator[Effect]:
        """What the operation does to the database; what does not reach it has no effect."""
        if isinstance(operation, of.SeparateDatabaseAndState):
            inner = Reading(self.connection, self.names, self.state.clone())
            for within in operation.database_operations:
                yield from inner.read(app, within)
                inner.advance(app, within)
        elif isinstance(operation, of.RunSQL):
            if router.allow_migrate(self.connection.alias, app, **operation.hints):
                yield from self._sql(operation.sql)
        elif isinstance(operation, FieldOperation):
            yield from self._field(app, operation)
        elif isinstance(operation, of.CreateModel):
            if self._reaches(app, operation.name_lower, operation.options):
                yield Effect("makes", _table(app, operation.name_lower, operation.options))
        elif isinstance(operation, of.DeleteModel):
            if model := self._model(app, operation.name_lower):
                yield Effect("drops", _table_of(model))
        elif isinstance(operation, of.RenameModel | of.AlterModelTable):
            yield from self._table_name(app, operation)

    def advance(self, app: str, operation: Operation) -> None:
        """Take the operation as applied."""
        operation.state_forwards(app, self.state)

    def _table_name(
        self, app: str, operation: of.RenameModel | of.AlterModelTable
    ) -> Iterator[Effect]:
        if isinstance(operation, of.RenameModel):
            model = self._model(app, operation.old_name_lower)
            after = model and _table(app, operation.new_name_lower, model.options)
        else:
            model = self._model(app, operation.name_lower)
            after = _table(app, operation.name_lower, {"db_table": operation.table})
        if model and after and after != (before := _table_of(model)):
            yield Effect("renames", before)
            yield Effect("makes", after)

    def _field(self, app: str, operation: FieldOperation) -> Iterator[Effect]:
        model = self._model(app, operation.model_name_lower)
        if model is None:
            return
        table, fields = _table_of(model), model.fields
        if isinstance(operation, of.AddField):
            if column := _column(operation.name, operation.field):
                yield Effect("makes", table, column)
        elif isinstance(operation, of.RenameField):
            if before := fields.get(operation.old_name):
                names = (
                    _column(operation.old_name, before),
                    _column(operation.new_name, before),
                )
                yield from _renamed(table, *names)
        elif before := fields.get(operation.name):
            column = _column(operation.name, before)
            if isinstance(operation, of.RemoveField) and column:
                yield Effect("drops", table, column)
            elif isinstance(operation, of.AlterField):
                after = _column(operation.name, operation.field)
                if column != after:
                    yield from _renamed(table, column, after)
                elif column and self._definition(before) != self._definition(operation.field):
                    yield Effect("alters", table, column)

    def _sql(self, statements: Any) -> Iterator[Effect]:
        """What the words of statements tell: they are not understood."""
        listed = [statements] if isinstance(statements, str) else statements
        whole = ";".join(entry if isinstance(entry, str) else entry[0] for entry in listed)
        for statement in _COMMENT.sub(" ", whole).split(";"):
            words = {
                quoted.replace('""', '"') or plain.lower()
                for quoted, plain in _WORD.findall(statement)
            }
            if not words & _CHANGES:
                continue
            for table, columns in self.names.items():
                if table.rpartition(".")[2] not in words:
                    continue
                for column in sorted(columns & words):
                    yield Effect("seems to change", table, column)
                if _WHOLE_TABLE.search(statement):
                    yield Effect("seems to change", table)

    def _model(self, app: str, name: str) -> ModelState | None:
        """The model, if its table is this database's affair."""
        model: ModelState | None = self.state.models.get((app, name))
        return model if model and self._reaches(app, name, model.options) else None

    def _reaches(self, app: str, name: str, options: Mapping[str, Any]) -> bool:
        return (
            options.get("managed", True)
            and not options.get("proxy")
            and router.allow_migrate(self.connection.alias, app, model_name=name)
        )

    def _definition(self, field: models.Field[Any, Any]) -> tuple[Any, ...]:
        """What of a field is the database's affair."""
        _, path, args, kwargs = field.deconstruct()
        left_out = {*field.non_db_attrs, *_OF_PYTHON_ALONE}
        kind = path if field.remote_field else field.db_type(self.connection)
        return kind, args, {name: v for name, v in kwargs.items() if name not in left_out}


def _renamed(table: str, before: str, after: str) -> Iterator[Effect]:
    if before and before != after:
        yield Effect("renames", table, before)
    if after and before != after:
        yield Effect("makes", table, after)


def _column(name: str, field: models.Field[Any, Any]) -> str:
    """The name of a field's column; empty where it has none."""
    if field.many_to_many:
        return ""
    named = field.clone()
    named.set_attributes_from_name(name)
    return named.column or ""


def _table_of(model: ModelState) -> str:
    return _table(model.app_label, model.name_lower, model.options)


def _table(app: str, name: str, options: Mapping[str, Any]) -> str:
    """A model's table. Written as ``schema"."table`` Django finds it in another schema."""
    table: str = options.get("db_table") or truncate_name(f"{app}_{name}", MAX_IDENTIFIER_BYTES)
    return table.strip('"').replace('"."', ".")
