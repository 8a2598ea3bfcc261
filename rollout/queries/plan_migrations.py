"""The migrations of a project that stand for a phase of a plan, from its changed models."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connections, models
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter

from rollout.operations import RolloutPhase
from rollout.plan import AddCheck, AddForeignKey, AddUnique, CreateIndex, DropIndex, Plan
from rollout.plan.errors import RolloutError
from rollout.plan.extractions import Extract, extracts_in
from rollout.plan.plan import EXPAND
from rollout.plan.table import Column
from rollout.plan.translations import Lookup
from rollout.queries.project_models import models_of, shape_of_models

Key = tuple[str, str]


class CannotMigrate(RolloutError):
    """The project's models have no migration of a phase; the message says why and what to do."""


@dataclass(frozen=True)
class NewMigration:
    """A migration to be written: the file, and its source."""

    path: str
    source: str


class _NoQuestions(MigrationQuestioner):
    """A column that is there needs no default for its rows."""

    def ask_not_null_addition(self, field_name: str, model_name: str) -> Any:
        return models.NOT_PROVIDED

    def ask_not_null_alteration(self, field_name: str, model_name: str) -> Any:
        return models.NOT_PROVIDED

    def ask_auto_now_add_addition(self, field_name: str, model_name: str) -> Any:
        return models.NOT_PROVIDED


def migrations_of(plan: Plan, phase: int | None, alias: str) -> list[NewMigration]:
    """The migrations for the models as they are, one for each app; none where they exist.

    Without ``phase`` it is the first one that leaves the columns that the models have.
    Raises CannotMigrate.
    """
    loader = MigrationLoader(None)
    before = _newest_phase(plan, loader)
    number = _phase_of(plan, phase, alias)
    if number < before:
        return []
    tables = [model for t in plan.tables for model in _managed(t.label, alias)]
    labels = dict.fromkeys(model._meta.app_label for model in tables)
    if not labels:
        raise CannotMigrate(
            f"No managed model has a table of the plan {plan.name}. Print one: manage.py rollout "
            f"models {plan.name}."
        )
    # Of a phase that they have already, only what was forgotten in a model is left.
    alone = "" if number == before else next(iter(labels))
    by_app = _operations(plan, number, alias, loader, alone)
    leaves = dict(loader.graph.leaf_nodes())
    return [
        _written(plan, number, before, migration, {k: v for k, v in leaves.items() if k in labels})
        for migration in by_app.values()
    ]


def _newest_phase(plan: Plan, loader: MigrationLoader) -> int:
    """The last phase that the project's migrations have; 0 for none."""
    phases = [
        operation.phase
        for migration in loader.disk_migrations.values()
        for operation in migration.operations
        if isinstance(operation, RolloutPhase) and operation.plan == plan.name
    ]
    return max(phases, default=0)


def _managed(label: str, alias: str) -> list[type[models.Model]]:
    return [model for model in models_of(label, alias) if model._meta.managed]


def _phase_of(plan: Plan, phase: int | None, alias: str) -> int:
    """The phase whose columns the models have; the given one, if it is one of them."""
    problems = {n: _problems(plan, n, alias) for n in range(EXPAND, len(plan.phases))}
    if phase is not None:
        if problems[phase]:
            raise CannotMigrate(_unlike(plan, phase, problems[phase]))
        return phase
    fitting = [number for number, of_phase in problems.items() if not of_phase]
    if fitting:
        return fitting[0]
    if not _problems(plan, 0, alias):
        raise CannotMigrate(
            f"The models are those before phase 1. Change them first: manage.py rollout models "
            f"{plan.name} prints them."
        )
    nearest = min(problems, key=lambda number: len(problems[number]))
    raise CannotMigrate(_unlike(plan, nearest, problems[nearest]))


def _unlike(plan: Plan, phase: int, problems: list[str]) -> str:
    return (
        f"The models are not those of phase {phase}: {'; '.join(problems[:3])}. Compare them with "
        f"manage.py rollout models {plan.name} --phase {phase}."
    )


def _problems(plan: Plan, phase: int, alias: str) -> list[str]:
    """How the models differ from the columns that a phase leaves."""
    return [
        problem
        for label, columns in _changing(plan).items()
        for model in _managed(label, alias)[:1]
        for problem in _problems_of(plan, phase, label, model, columns, alias)
    ]


def _problems_of(
    plan: Plan,
    phase: int,
    label: str,
    model: type[models.Model],
    columns: set[str],
    alias: str,
) -> Iterator[str]:
    wanted = shape_of_models(plan, phase + 1).get(label, {})
    fields: dict[str, Any] = {f.column: f for f in model._meta.local_concrete_fields if f.column}
    keyed = {
        step.lookup.column
        for number in range(phase + 1)
        for step in plan.phases[number].steps
        if isinstance(step, AddForeignKey) and step.lookup.table.label == label
    }
    for column in sorted(columns):
        field, of = fields.get(column), wanted.get(column)
        if field is None or of is None:
            if field is not None:
                yield f"{model._meta.label}.{field.name} has the column {column}"
            elif of is not None:
                yield f"{model._meta.label} has no field of the column {column}"
            continue
        name = f"{model._meta.label}.{field.name}"
        live = Column(_type_of(field, alias), field.null)
        if live != of:
            yield f"{name} is {_words(live)} instead of {_words(of)}"
        if column in _added(plan, label) and (field.db_index or field.unique):
            yield f"{name} has an index that no step builds: write db_index=False"
        if field.many_to_one and field.db_constraint is not (column in keyed):
            yield f"{name} needs db_constraint={column in keyed}"


def _words(column: Column) -> str:
    return column.type + ("" if column.null else " NOT NULL")


def _type_of(field: "models.Field[Any, Any]", alias: str) -> str:
    """The type of a field's column as ``format_type`` prints it."""
    type_ = field.db_type(connections[alias]) or ""
    return type_.replace("varchar", "character varying").replace(", ", ",")


def _changing(plan: Plan) -> dict[str, set[str]]:
    """The columns of the plan's tables that some phase adds, drops or alters."""
    changing = {}
    for table in plan.tables:
        shapes = [shape_of_models(plan, done)[table.label] for done in range(len(plan.phases) + 1)]
        names = {name for shape in shapes for name in shape}
        changing[table.label] = {n for n in names if len({s.get(n) for s in shapes}) > 1}
    return changing


def _added(plan: Plan, label: str) -> set[str]:
    return _changing(plan)[label] - shape_of_models(plan, 0)[label].keys()


def _operations(
    plan: Plan, phase: int, alias: str, loader: MigrationLoader, app_of_plan: str
) -> dict[str, Migration]:
    """What the autodetector finds of the plan's changes: a migration for each app.

    Where it finds none, the phase itself is all that the migration of ``app_of_plan`` has.
    """
    before = loader.project_state()
    after = _with_plan(plan, phase, alias, before, ProjectState.from_apps(apps))
    detector = MigrationAutodetector(before, after, _NoQuestions())
    name = f"{plan.name.replace('-', '_')}_phase_{phase}"
    changes = detector.changes(loader.graph, migration_name=name)
    if not changes and app_of_plan:
        empty = {app_of_plan: [Migration("phase", app_of_plan)]}
        changes = detector.arrange_for_graph(empty, loader.graph, name)
    joined: dict[str, Any] = {}
    first: Any
    for app, migrations in changes.items():
        first, *more = migrations
        for migration in more:
            first.operations += migration.operations
            first.dependencies += migration.dependencies
        own = {migration.name for migration in migrations}
        first.dependencies = [d for d in first.dependencies if d[0] != app or d[1] not in own]
        for operation in first.operations:
            # Without a question there is no default to be forgotten.
            if hasattr(operation, "preserve_default"):
                operation.preserve_default = True
        joined[app] = first
    return joined


def _with_plan(
    plan: Plan, phase: int, alias: str, before: ProjectState, now: ProjectState
) -> ProjectState:
    """The state before, with what of the models now the plan's phases account for."""
    mixed = before.clone()
    lookups: list[Lookup | Extract] = [*plan.lookups, *extracts_in(plan.translations)]
    for lookup in lookups:
        for model in _managed(lookup.lookup_label, alias):
            key = _key(model)
            if key not in mixed.models and lookup.lookup_label in shape_of_models(plan, phase + 1):
                mixed.models[key] = now.models[key].clone()
    for table in plan.tables:
        for model in _managed(table.label, alias):
            key = _key(model)
            if key not in mixed.models:
                raise CannotMigrate(
                    f"The table of {model._meta.label} is in no migration yet. Run manage.py "
                    "makemigrations first, with the model of before the plan."
                )
            mixed.models[key] = _mixed(
                plan, phase, table.label, before.models[key], now.models[key]
            )
    return mixed


def _key(model: type[models.Model]) -> Key:
    return model._meta.app_label, model._meta.model_name or ""


def _mixed(plan: Plan, phase: int, label: str, old: ModelState, new: ModelState) -> ModelState:
    columns = _changing(plan)[label]
    mixed = old.clone()
    mixed.fields = {n: f for n, f in old.fields.items() if _column(n, f) not in columns}
    mixed.fields |= {n: f for n, f in new.fields.items() if _column(n, f) in columns}
    there = {_column(n, f) for n, f in mixed.fields.items()}
    gone = {n for n, f in old.fields.items() if _column(n, f) in columns - there}
    steps = [step for number in range(phase + 1) for step in plan.phases[number].steps]
    made = {s.name for s in steps if isinstance(s, CreateIndex) and s.table.label == label}
    made |= {s.constraint for s in steps if isinstance(s, AddUnique) and s.table.label == label}
    made |= {s.name for s in steps if isinstance(s, AddCheck) and s.table.label == label}
    dropped = {s.name for s in steps if isinstance(s, DropIndex) and s.table.label == label}
    for option in ("indexes", "constraints"):
        kept = [
            part
            for part in old.options.get(option, ())
            if part.name not in made | dropped and gone.isdisjoint(getattr(part, "fields", ()))
        ]
        built = [part for part in new.options.get(option, ()) if part.name in made]
        mixed.options = {**mixed.options, option: [*kept, *built]}
    # What is over a dropped column goes with it.
    if together := old.options.get("unique_together"):
        left = {names for names in together if gone.isdisjoint(names)}
        mixed.options = {**mixed.options, "unique_together": left}
    return mixed


def _column(name: str, field: "models.Field[Any, Any]") -> str:
    named = field.clone()
    named.set_attributes_from_name(name)
    return named.column or ""


def _written(
    plan: Plan, phase: int, before: int, migration: Any, leaves: dict[str, str]
) -> NewMigration:
    migration.operations = [
        RolloutPhase(plan.name, phase, before, state_operations=migration.operations)
    ]
    others = [(app, name) for app, name in leaves.items() if app != migration.app_label]
    migration.dependencies = list(dict.fromkeys([*migration.dependencies, *others]))
    writer = MigrationWriter(migration)
    head = "class Migration(migrations.Migration):\n"
    # Its statements run on a connection of their own, and some in no transaction.
    return NewMigration(
        writer.path, writer.as_string().replace(head, f"{head}\n    atomic = False\n")
    )
