"""The project's own migrations that meet the columns of a plan which is not finished.

A migration counts where it is not applied yet, or was applied after phase 1 began; what came before
the rollout made the tables that the plan was written for. Of a table that the database does not
have there is nothing to lose, and what a plan has finished is the application's again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import Error, ProgrammingError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import BadMigrationError, NodeNotFoundError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder

from rollout import journal
from rollout.engine.preflight import Item
from rollout.journal.environments import UnknownEnvironment, alias_of
from rollout.journal.moments import in_words
from rollout.models import Direction, PhaseRun, RunState
from rollout.plan.expected_catalogs import labels
from rollout.plan.plan import CONTRACT, ENFORCE, EXPAND, Plan
from rollout.plan.table import Table, label_sql
from rollout.plan.translations import Lookup
from rollout.queries.migration_effects import Effect, Reading, Verb

NAME = "migrations of the project"
STATE_ALONE = (
    "Replace it by what manage.py rollout makemigrations writes, or keep it out of the database "
    "with SeparateDatabaseAndState(state_operations=[...]): the plan "
    "itself changes these columns."
)
_APPLY_FIRST = " Or apply it before phase 1, and update the plan's tables."
NO_GRAPH = (ImportError, NodeNotFoundError, BadMigrationError)
_LOOKUP_COLUMNS = ("id", "name", "active")

Columns = dict[str, frozenset[str]]


@dataclass(frozen=True)
class Clash:
    """A migration and what it does to a column of the plan.

    ``is_used``: translations read or write it, or it is of the key; ``applied`` is when.
    """

    migration: str
    verb: Verb
    place: str
    is_used: bool
    applied: datetime | None = None

    @property
    def is_certain(self) -> bool:
        """Whether it would break the plan, and is no guess from the words of SQL."""
        return self.is_used and self.verb != "seems to change"

    def __str__(self) -> str:
        when = (
            f"was applied at {in_words(self.applied)}, after phase 1 started, and"
            if self.applied
            else "is not applied yet, and"
        )
        return f"Migration {self.migration} {when} {self.verb} {self.place}."


@dataclass(frozen=True)
class Progress:
    """How far a plan is in an environment."""

    expanding_since: datetime | None
    """When phase 1 began; None where nothing of it is in the database."""
    finished: bool
    enforced: bool = False
    """Whether phase 3 is done, so that phase 4 is next or has begun."""


def item_of(plan: Plan, environment: str, phase: int) -> Item:
    """What the migrations mean for a phase that is to come. Never raises for the database."""
    try:
        clashes = clashes_of(plan, environment)
    except Error as error:
        text = str(error).strip().splitlines()[0]
        return Item(
            NAME, "unknown", f"Migrations could not be read: {text}.", "Run again.", phase=phase
        )
    except NO_GRAPH as error:
        return Item(
            NAME,
            "unknown",
            f"Migrations could not be read: {error}.",
            "Fix the problem that manage.py showmigrations reports.",
            phase=phase,
        )
    if not clashes:
        return Item(NAME, "pass", "No migration touches the plan's columns.", phase=phase)
    pending = [clash for clash in clashes if clash.applied is None]
    level: Literal["blocks", "warns"] = (
        "blocks" if any(clash.is_certain for clash in pending) else "warns"
    )
    advice = []
    if pending:
        begun = progress_of(plan.name, environment).expanding_since
        advice.append(STATE_ALONE + ("" if begun else _APPLY_FIRST))
    if len(pending) < len(clashes):
        advice.append("Review its changes on the Schema page, and revert them first.")
    clashes.sort(key=lambda clash: (clash.applied is not None, not clash.is_certain))
    return Item(NAME, level, " ".join(map(str, clashes)), " ".join(advice), phase=phase)


def clashes_of(plan: Plan, environment: str) -> list[Clash]:
    """The migrations that meet the plan's columns in an environment.

    Raises django.db.Error, and NodeNotFoundError, BadMigrationError and ImportError where
    the project's migrations cannot be read.
    """
    try:
        connection = connections[alias_of(environment)]
    except UnknownEnvironment:
        return []
    progress = progress_of(plan.name, environment)
    if progress.finished:
        return []
    recorder = MigrationRecorder(connection)
    # What was made from a snapshot is migrated by nobody.
    if not recorder.has_table():
        return []
    loader = MigrationLoader(connection)
    applied = _applied(loader, recorder)
    begun = progress.expanding_since
    counted = {
        key
        for key in loader.graph.nodes
        if key not in applied or (begun is not None and applied[key] > begun)
    }
    if not counted:
        return []
    there, labels_of = _there(connection, plan)
    watched = _watched(plan)
    reading = Reading(
        connection, {name: watched[label] for name, label in labels_of.items() if label in watched}
    )
    clashes: dict[Clash, None] = {}
    for migration in _in_order(loader):
        key = (migration.app_label, migration.name)
        for operation in migration.operations:
            if key in counted:
                for effect in reading.read(migration.app_label, operation):
                    label = labels_of.get(effect.table, "")
                    if _counts(plan, effect, label, there, is_applied=key in applied):
                        place = ".".join(filter(None, (label, effect.column)))
                        clash = Clash(
                            f"{key[0]}.{key[1]}",
                            effect.verb,
                            place,
                            _is_used(plan, label, effect.column),
                            applied.get(key),
                        )
                        clashes[clash] = None
            _advance(reading, migration, operation)
    return list(clashes)


def progress_of(plan: str, environment: str) -> Progress:
    """Where a plan stands; at its beginning where the journal's own tables are not there yet."""
    since: datetime | None = None
    finished = enforced = False
    try:
        with transaction.atomic(using=journal.alias()):
            # Few and old columns: this is asked before the journal's own migrations, too.
            runs = list(
                PhaseRun.objects.filter(
                    rollout__plan=plan,
                    rollout__environment=environment,
                    phase__in=(EXPAND, ENFORCE, CONTRACT),
                )
                .exclude(direction=Direction.REPAIR)
                .order_by("id")
                .values_list("phase", "direction", "state", "created_at")
            )
    except ProgrammingError:
        return Progress(None, finished=False)
    for phase, direction, state, at in runs:
        is_over = state == RunState.DONE
        if phase == CONTRACT:
            finished = is_over and direction == Direction.FORWARD
        elif phase == ENFORCE:
            enforced = is_over and direction == Direction.FORWARD
        elif direction == Direction.FORWARD:
            since = since or at
        elif is_over:
            since = None
    return Progress(since, finished, enforced)


def _applied(loader: MigrationLoader, recorder: MigrationRecorder) -> dict[Any, datetime]:
    """When each migration was applied; a squashed one when the last of those it replaces was."""
    rows = {(row.app, row.name): row.applied for row in recorder.migration_qs}
    applied = {}
    for key in loader.applied_migrations:
        squashed = loader.replacements.get(key)
        replaced = [rows[old] for old in (squashed.replaces if squashed else ()) if old in rows]
        if replaced or key in rows:
            applied[key] = max(replaced) if replaced else rows[key]
    return applied


def _in_order(loader: MigrationLoader) -> Iterator[Migration]:
    seen = set()
    for leaf in sorted(loader.graph.leaf_nodes()):
        for key in loader.graph.forwards_plan(leaf):
            if key not in seen:
                seen.add(key)
                yield loader.graph.nodes[key]


def _advance(reading: Reading, migration: Migration, operation: Operation) -> None:
    try:
        reading.advance(migration.app_label, operation)
    except Exception as error:
        name = f"{migration.app_label}.{migration.name}"
        problem = f"{name} fails: {type(error).__name__}: {error}"
        raise BadMigrationError(problem) from error


def _lookups(plan: Plan) -> list[Lookup]:
    return [t for t in plan.translations if isinstance(t, Lookup)]


def _watched(plan: Plan) -> Columns:
    """Columns of the plan's tables that SQL may name; a key's names are too common for that."""
    watched = {
        table.label: frozenset({*table.columns, *_added(plan, table)} - {*table.key})
        for table in plan.tables
    }
    return watched | {
        lookup.lookup_label: frozenset({"name", "active", *lookup.columns})
        for lookup in _lookups(plan)
    }


def _added(plan: Plan, table: Table) -> set[str]:
    return {name for t in plan.translations if t.table == table for name in t.added}


def _is_used(plan: Plan, label: str, column: str) -> bool:
    """Whether the plan works with the column; a table or a lookup table it needs as a whole."""
    table = next((table for table in plan.tables if table.label == label), None)
    if table is None or not column:
        return True
    read = {name for t in plan.translations if t.table == table for name in t.reads}
    return column in {*table.key, *read, *_added(plan, table)}


def _counts(plan: Plan, effect: Effect, label: str, there: Columns, *, is_applied: bool) -> bool:
    """Whether an effect is on something of the plan's that there is, or that the plan makes."""
    tables = {table.label: table for table in plan.tables}
    lookups = {lookup.lookup_label: lookup for lookup in _lookups(plan)}
    if label in lookups and label not in tables:
        lookup = lookups[label]
        if lookup.table.label not in there:
            return False
        columns = {*_LOOKUP_COLUMNS, *lookup.columns}
        return not effect.column or effect.column in columns
    # The first to make the table makes it: a second time fails, and is no loss.
    if label not in tables or label not in there:
        return False
    new = _added(plan, tables[label])
    if effect.verb == "makes":
        return effect.column in new
    if effect.column and effect.column not in {*tables[label].columns, *new}:
        return False
    # What is applied has done it already; what is not there now has nothing to lose.
    return is_applied or not effect.column or effect.column in there[label]


def _there(connection: BaseDatabaseWrapper, plan: Plan) -> tuple[Columns, dict[str, str]]:
    """The columns of the plan's tables that are there, and labels by the names in SQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        current = cursor.fetchone()[0]
        cursor.execute(_THERE, [labels(plan)])
        rows = cursor.fetchall()
    names = {}
    for schema, name, label in [
        *((t.schema, t.name, t.label) for t in plan.tables),
        *((x.table.schema, x.lookup_table, x.lookup_label) for x in _lookups(plan)),
    ]:
        names[f"{schema}.{name}"] = label
        if schema == current:
            names[name] = label
    names |= {name: label for label, name, visible, _ in rows if visible}
    return {label: frozenset(columns) for label, _, _, columns in rows}, names


_THERE = """
SELECT {label}, c.relname, pg_table_is_visible(c.oid), array_agg(a.attname::text)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p')
   AND {label} = ANY (%s)
 GROUP BY n.nspname, c.relname, c.oid
""".format(label=label_sql())
