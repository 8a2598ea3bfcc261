"""Django models of a plan's tables once a phase is done, as source that people paste."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.core.management.commands.inspectdb import Command as InspectDb
from django.db import models
from django.db.migrations.writer import MigrationWriter

from rollout.plan import AddCheck, AddForeignKey, AddUnique, CreateIndex, DropIndex, Lookup, Plan
from rollout.plan.extractions import Extract, extracts_in
from rollout.plan.plan import EXPAND
from rollout.plan.table import Column, Shape, Table
from rollout.queries.project_models import models_of, shape_of_models

_WIDTH = 88
_KEYS = {"smallint": "SmallAutoField", "integer": "AutoField", "bigint": "BigAutoField"}
_FIELDS = {
    "bigint": "BigIntegerField",
    "boolean": "BooleanField",
    "bytea": "BinaryField",
    "date": "DateField",
    "double precision": "FloatField",
    "inet": "GenericIPAddressField",
    "integer": "IntegerField",
    "interval": "DurationField",
    "jsonb": "JSONField",
    "smallint": "SmallIntegerField",
    "text": "TextField",
    "time without time zone": "TimeField",
    "timestamp with time zone": "DateTimeField",
    "uuid": "UUIDField",
}
# What a field of a text says about it, and not about its column.
_OF_TEXTS = ("verbose_name", "max_length", "choices", "default", "help_text", "editable")
_SIZED = re.compile(r"(character varying|numeric)\((\d+)(?:,(\d+))?\)")


@dataclass
class _Class:
    """A model to print."""

    name: str
    table: str
    fields: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Field by column."""
    manager: str = ""
    methods: str = ""
    note: str = ""

    @property
    def source(self) -> str:
        blocks = [*self.fields]
        if self.manager:
            blocks += ["", f"objects = {self.manager}()"]
        meta = [f"db_table = {_quoted(self.table)}"] if self.table else []
        meta += self.options
        if any(line[0] != "#" for line in meta):
            meta = ["class Meta:", *_indented(meta)]
        blocks += ["", *meta] if meta else []
        blocks += self.methods.splitlines()
        note = [self.note] if self.note else []
        return "\n".join(_indented([*note, *blocks], [f"class {self.name}(models.Model):"]))


def phases_with_models(plan: Plan) -> list[int]:
    """The phases after which models differ from those of the phase before."""
    return [
        number
        for number in range(EXPAND, len(plan.phases))
        if _as_models_tell(plan, number) != _as_models_tell(plan, number - 1)
    ]


def _as_models_tell(plan: Plan, number: int) -> tuple[Shape, set[str]]:
    kinds = (AddCheck, AddForeignKey, AddUnique, CreateIndex, DropIndex)
    steps = {s.id for p in plan.phases[: number + 1] for s in p.steps if isinstance(s, kinds)}
    return shape_of_models(plan, number + 1), steps


def models_source(plan: Plan, phase: int, alias: str, *, lookup_fields: bool = False) -> str:
    """The models once a phase is done: lookup tables whole, of others what the plan knows.

    Names and fields of the project's own models of ``alias`` are kept. With ``lookup_fields`` a
    lookup's column has a LookupField, which takes the legacy field's name once that is gone.
    """
    writer = _Writer(plan, phase, alias, lookup_fields)
    classes = list(writer.classes())
    # As in a migration that Django writes.
    imports = sorted(
        {"from django.db import models", *writer.imports}, key=lambda i: (i[:4] == "from", i)
    )
    option = " --lookup-fields" if lookup_fields else ""
    command = f"manage.py rollout models {plan.name} --phase {phase}{option}"
    head = f"# After phase {phase}. Made by: {command}"
    return "\n".join([head, *imports, "", "", "\n\n\n".join(classes), ""])


class _Writer:
    def __init__(self, plan: Plan, phase: int, alias: str, lookup_fields: bool) -> None:
        self.plan = plan
        self.lookup_fields = lookup_fields
        self.shape = shape_of_models(plan, phase + 1)
        self.alias = alias
        self.steps = [step for done in plan.phases[: phase + 1] for step in done.steps]
        self.later = [step for done in plan.phases[phase + 1 :] for step in done.steps]
        self.imports: set[str] = set()
        self.of_lookups = {lookup.lookup_label: lookup for lookup in plan.lookups}

    def classes(self) -> Iterator[str]:
        for label, lookup in self.of_lookups.items():
            if label in self.shape:
                yield from self._lookup_table(lookup)
        for extract in extracts_in(self.plan.translations):
            if extract.lookup_label in self.shape:
                yield self._extracted_table(extract).source
        for table in self.plan.tables:
            yield self._table(table).source

    def _model(self, label: str) -> type[models.Model] | None:
        return next(iter(models_of(label, self.alias)), None)

    def _name(self, label: str, table: str, prefix: str = "") -> str:
        if model := self._model(label):
            return model.__name__
        bare = table.removeprefix(prefix) or table
        name = InspectDb().normalize_table_name(_singular(bare) if prefix else bare)
        return name if name.isidentifier() else f"Table{name}"

    def _lookup_name(self, lookup: Lookup | Extract) -> str:
        model = self._model(lookup.table.label)
        prefix = f"{model._meta.app_label}_" if model else f"{lookup.table.name}_"
        if not model and not lookup.lookup_table.startswith(prefix):
            prefix = "\0"
        return self._name(lookup.lookup_label, lookup.lookup_table, prefix)

    def _db_table(self, label: str, schema: str, name: str) -> str:
        """The option ``db_table``; empty for a model that leaves it to Django."""
        model = self._model(label)
        if model and "db_table" not in vars(model._meta)["original_attrs"]:
            return ""
        return _db_table(schema, name)

    def _lookup_table(self, lookup: Lookup) -> Iterator[str]:
        name = self._lookup_name(lookup)
        made = _Class(
            name, self._db_table(lookup.lookup_label, lookup.table.schema, lookup.lookup_table)
        )
        made.manager = f"{name}Manager"
        columns = self.shape[lookup.lookup_label]
        made.fields.append(f"id = models.{_KEYS[columns['id'].type]}(primary_key=True)")
        for column, of in columns.items():
            if column == "active":
                made.fields.append("active = models.BooleanField(default=True, db_default=True)")
            elif column != "id":
                self._add(made, column, of)
        made.methods = (
            "\ndef __str__(self):\n    return self.name\n"
            "\ndef natural_key(self):\n    return (self.name,)"
        )
        yield (
            f"class {made.manager}(models.Manager):\n"
            "    def get_by_natural_key(self, name):\n        return self.get(name=name)"
        )
        yield made.source

    def _extracted_table(self, extract: Extract) -> _Class:
        label = extract.lookup_label
        made = _Class(
            self._lookup_name(extract), self._db_table(label, extract.table.schema, extract.into)
        )
        for column, of in self.shape[label].items():
            self._add(made, column, of, key=column == "id")
        return made

    def _table(self, table: Table) -> _Class:
        model = self._model(table.label)
        name = self._name(table.label, table.name)
        made = _Class(name, self._db_table(table.label, table.schema, table.name))
        if model:
            made.note = "# Its other fields, options and methods stay as they are."
        kept = {f.column: f for f in model._meta.local_concrete_fields} if model else {}
        lookups = {lookup.column: lookup for lookup in self.plan.lookups_of(table)}
        keys: dict[str, Lookup | Extract] = {
            **lookups,
            **{t.column: t for t in extracts_in(self.plan.conversions_of(table))},
        }
        added = {name for t in self.plan.translations if t.table == table for name in t.added}
        columns, before = self.shape[table.label], self.plan.shape(0)[table.label]
        gone = before.keys() - columns.keys()
        # A new column that has its legacy column's name is another field.
        added |= {
            c for c in self.plan.names_after_cutover(table) if columns.get(c) != before.get(c)
        }
        made.names = {c: kept[c].name for c in kept if c and c not in gone}
        for column, lookup in lookups.items() if self.lookup_fields else ():
            if lookup.legacy in gone and column in columns:
                legacy = kept.get(lookup.legacy)
                made.names[column] = legacy.name if legacy else lookup.legacy
        # Keys last: they make way for the name of a legacy column.
        for column in sorted(columns, key=lambda column: column in keys):
            self._field_name(made, column, of_key=column in keys)
        for column, of in columns.items():
            if column in lookups and self.lookup_fields:
                self._lookup_field(made, lookups[column], of, kept.get(lookups[column].legacy))
            elif column in keys:
                self._foreign_key(made, keys[column], of)
            # The column of a reference has the type of the key that it refers to.
            elif column in kept and (column not in added or kept[column].is_relation):
                self._add_kept(made, kept[column])
            else:
                counts = column == "id" or isinstance(kept.get(column), models.AutoField)
                is_key = column in table.key and len(table.key) == 1
                self._add(made, column, of, key=is_key, counts=counts)
        if len(table.key) > 1 and not model:
            names = ", ".join(f'"{made.names[column]}"' for column in table.key)
            made.fields.insert(0, f"pk = models.CompositePrimaryKey({names})")
        made.options += [
            *self._listed("indexes", self._indexes(table, made, model)),
            *self._listed("constraints", self._constraints(table, made)),
        ]
        return made

    def _add_kept(self, made: _Class, kept: "models.Field[object, object]") -> None:
        if kept.auto_created:
            return
        text, imports = MigrationWriter.serialize(kept)
        self.imports |= {line for line in imports if line != "from django.db import migrations"}
        made.fields.append(f"{kept.name} = {text}")

    def _add(
        self, made: _Class, column: str, of: Column, *, key: bool = False, counts: bool = False
    ) -> None:
        call, options = self._field(of.type)
        if key and counts and of.type in _KEYS:
            call = f"models.{_KEYS[of.type]}"
        name = self._field_name(made, column)
        if call is None:
            made.fields.append(f"# {column} is {of.type}, which Django has no field for.")
            return
        if key:
            options.append("primary_key=True")
        elif of.null:
            options += ["null=True", "blank=True"]
        if name != column:
            options.append(f"db_column={_quoted(column)}")
        made.fields.append(_call(f"{name} = {call}", options))

    def _field(self, type_: str) -> tuple[str | None, list[str]]:
        if type_.endswith("[]"):
            call, options = self._field(type_.removesuffix("[]"))
            self.imports.add("from django.contrib.postgres.fields import ArrayField")
            return "ArrayField", [f"{call}({', '.join(options)})"] if call else []
        if sized := _SIZED.fullmatch(type_):
            _, size, places = sized.groups()
            if type_.startswith("numeric"):
                return "models.DecimalField", [f"max_digits={size}", f"decimal_places={places}"]
            return "models.CharField", [f"max_length={size}"]
        if type_ == "character varying":
            return "models.CharField", []
        name = _FIELDS.get(type_)
        return (f"models.{name}" if name else None), []

    def _foreign_key(self, made: _Class, lookup: Lookup | Extract, of: Column) -> None:
        name = made.names[lookup.column]
        db_column = f"db_column={_quoted(lookup.column)}"
        options = [self._lookup_name(lookup), "models.PROTECT", db_column]
        if not any(isinstance(s, AddForeignKey) and s.lookup == lookup for s in self.steps):
            options.append("db_constraint=False")
        options.append("db_index=False")
        if of.null:
            options += ["null=True", "blank=True"]
        shared = [x for x in self.plan.lookups if x.lookup_label == lookup.lookup_label]
        if len(shared) > 1:
            options.append('related_name="+"')
        made.fields.append(_call(f"{name} = models.ForeignKey", options))

    def _lookup_field(
        self,
        made: _Class,
        lookup: Lookup,
        of: Column,
        legacy: "models.Field[object, object] | None",
    ) -> None:
        self.imports.add("from rollout.fields import LookupField")
        name = made.names[lookup.column]
        options = [_quoted(_db_table(lookup.table.schema, lookup.lookup_table))]
        if rows := {id_: row["name"] for id_, row in lookup.fixed_rows.items()}:
            options.append(f"rows={rows!r}")
        options.append(f"plan={_quoted(self.plan.name)}")
        if lookup.key:
            options.append(f"key={_quoted(lookup.key)}")
        if lookup.column != f"{name}_id":
            options.append(f"db_column={_quoted(lookup.column)}")
        if of.null:
            options += ["null=True", "blank=True"]
        for option, value in legacy.deconstruct()[3].items() if legacy else ():
            if option in _OF_TEXTS:
                text, imports = MigrationWriter.serialize(value)
                self.imports |= imports
                options.append(f"{option}={_quoted(value) if isinstance(value, str) else text}")
        made.fields.append(_call(f"{name} = LookupField", options))

    def _field_name(self, made: _Class, column: str, *, of_key: bool = False) -> str:
        if column not in made.names:
            taken = made.names.values()
            name, _, _ = InspectDb().normalize_col_name(column, [], is_relation=of_key)
            if of_key and not {name, f"{name}_id"}.isdisjoint(taken):
                name += "_row"
            while name in taken:
                name += "_column"
            made.names[column] = name
        return made.names[column]

    def _indexes(
        self, table: Table, made: _Class, model: type[models.Model] | None
    ) -> Iterator[str]:
        declared = {index.name for index in model._meta.indexes} if model else None
        for step in self._built(table, unique=False):
            # One that the project's model does not declare is Django's own, of a field.
            if isinstance(step, DropIndex) and declared is not None and step.name not in declared:
                continue
            if len(step.name) > models.Index.max_name_length:
                made.options.append(f"# Django takes no index name as long as {step.name}.")
                continue
            names = ", ".join(f'"{made.names[column]}"' for column in step.columns)
            yield _call("models.Index", [f"fields=[{names}]", f"name={_quoted(step.name)}"])

    def _constraints(self, table: Table, made: _Class) -> Iterator[str]:
        for step in self._built(table, unique=True):
            # As expressions, so that Django makes an index of it, and no constraint.
            names = [f'models.F("{made.names[column]}")' for column in step.columns]
            yield _call("models.UniqueConstraint", [*names, f"name={_quoted(step.name)}"])
        for added in self.steps:
            if isinstance(added, AddUnique) and added.table == table:
                listed = ", ".join(f'"{made.names[column]}"' for column in added.columns)
                options = [f"fields=[{listed}]", f"name={_quoted(added.constraint)}"]
                yield _call("models.UniqueConstraint", options)
            elif isinstance(added, AddCheck) and added.table == table:
                made.options.append(f"# The table has the check {added.name}: {added.condition}")

    def _built(self, table: Table, *, unique: bool) -> Iterator[CreateIndex | DropIndex]:
        """The indexes that are there: of steps that are done, or that drop them later."""
        for steps, kind in ((self.steps, CreateIndex), (self.later, DropIndex)):
            for step in steps:
                if isinstance(step, kind) and step.table == table and step.unique == unique:
                    yield step

    @staticmethod
    def _listed(name: str, calls: Iterable[str]) -> list[str]:
        lines = [f"{call}," for call in calls]
        return [f"{name} = [", *_indented(lines), "]"] if lines else []


def _call(what: str, options: list[str]) -> str:
    """A call in one line, or with a line for each argument."""
    line = f"{what}({', '.join(options)})"
    if len(line) + 8 <= _WIDTH:
        return line
    return "\n".join([f"{what}(", *_indented([f"{option}," for option in options]), ")"])


def _indented(lines: Iterable[str], before: Iterable[str] = ()) -> list[str]:
    texts = "\n".join(lines).splitlines()
    return [*before, *(f"    {text}" if text else "" for text in texts)]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if '"' not in text else repr(text)


def _db_table(schema: str, name: str) -> str:
    """A table's name as ``Meta.db_table`` has it: with its schema, as SQL writes it."""
    return name if schema == "public" else f'"{schema}"."{name}"'


def _singular(plural: str) -> str:
    for ending, instead in (("ies", "y"), ("uses", "us"), ("ss", "ss"), ("s", "")):
        if plural.endswith(ending):
            return plural.removesuffix(ending) + instead
    return plural
