"""The project's models of a plan's tables, and their fields whose columns the plan drops."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.apps import apps
from django.db import models, router

from rollout.engine.preflight import Item
from rollout.journal.environments import UnknownEnvironment, alias_of
from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.table import Column, Named, Shape
from rollout.plan.vocabulary_columns import VocabularyColumn

NAME = "models of the project"


@dataclass(frozen=True)
class DroppedField:
    """A field of a model of this release, and its column, which phase 4 drops."""

    model: str
    field: str
    column: str

    def __str__(self) -> str:
        return f"Model {self.model} has the field {self.field} ({self.column})."


def models_of(label: str, alias: str) -> list[type[models.Model]]:
    """The models of a table that a database may have, managed or not, but for proxies."""
    return [
        model
        for model in apps.get_models()
        if not model._meta.proxy
        and _label(model) == label
        and router.allow_migrate_model(alias, model)
    ]


def _label(model: type[models.Model]) -> str:
    """A model's table as ``Table.label`` writes it; Django finds ``schema"."table`` elsewhere."""
    schema, _, name = model._meta.db_table.strip('"').replace('"."', ".").rpartition(".")
    named = Named()
    named.schema, named.name = schema or "public", name
    return named.label


def shape_of_models(plan: Plan, phases_done: int) -> Shape:
    """The columns that models have once that many phases are done.

    Where a new column takes its legacy column's name, models have that name alone. A text that
    becomes an enum type stays a text to them.
    """
    shape = plan.shape(phases_done)
    hidden = {t.label: plan.names_after_cutover(t) for t in plan.tables_keeping_names}
    return {
        label: {
            name: _as_of_text(plan, label, column)
            for name, column in columns.items()
            if name in plan.shape(0).get(label, {})
            or name not in {*hidden.get(label, {}), *hidden.get(label, {}).values()}
        }
        for label, columns in shape.items()
    }


def _as_of_text(plan: Plan, label: str, column: Column) -> Column:
    for t in plan.translations:
        enum = t.enum if isinstance(t, VocabularyColumn) and t.table.label == label else None
        if isinstance(t, VocabularyColumn) and enum and column.type == enum.type:
            return Column(t.of_legacy.type, column.null)
    return column


def dropped_fields(plan: Plan, alias: str) -> list[DroppedField]:
    """The fields whose columns phase 4 drops.

    A table that the project has another model of, without such a field, is left out: there the
    application asks for the modes in force.
    """
    return list(_dropped_fields(plan, alias))


def _dropped_fields(plan: Plan, alias: str) -> Iterator[DroppedField]:
    before, after = plan.shape(CONTRACT), plan.shape(CONTRACT + 1)
    for table in plan.tables:
        gone = before[table.label].keys() - after[table.label].keys()
        fields = {
            model: [f for f in model._meta.local_concrete_fields if f.column in gone]
            for model in models_of(table.label, alias)
        }
        if all(fields.values()):
            for model, of_model in fields.items():
                for field in of_model:
                    column = f"{table.label}.{field.column}"
                    yield DroppedField(model._meta.label, field.name, column)


def item_of(plan: Plan, environment: str) -> Item:
    """What the models of the release that runs here mean for phase 4."""
    try:
        dropped = dropped_fields(plan, alias_of(environment))
    except UnknownEnvironment:
        dropped = []
    if not dropped:
        return Item(
            NAME, "pass", "No model has a field whose column phase 4 drops.", phase=CONTRACT
        )
    return Item(
        NAME,
        "warns",
        f"{' '.join(map(str, dropped))} Phase 4 drops what they store; then every query of such a "
        "model fails.",
        "Deploy a release without such fields first, and stop the last process of the older one. "
        f"manage.py rollout models {plan.name} --phase 4 prints its models.",
        phase=CONTRACT,
    )
