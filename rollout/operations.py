"""The operation of Django's migrations that stands for a phase of a rollout.

``manage.py rollout makemigrations PLAN`` writes it. It imports nothing of the app's own models, so
that a project whose tests leave Rollout out, on SQLite for instance, can still load its migrations.
"""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db import ProgrammingError, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import SeparateDatabaseAndState

from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.registry import UnknownPlan, plans


class RolloutPhase(SeparateDatabaseAndState):
    """The changes of Django's state that belong to a phase, and in the database the phase itself.

    Where the phase is done, nothing happens. Where the plan's tables have no rows, its statements
    run at once; those of the phases after ``after`` come first. Otherwise it is refused, with what
    to run. Backwards likewise. On other databases than PostgreSQL Django makes the changes itself.
    """

    serialization_expand_args = ["state_operations"]

    def __init__(
        self,
        plan: str,
        phase: int,
        after: int = 0,
        state_operations: Sequence[Operation] = (),
    ) -> None:
        super().__init__(state_operations=list(state_operations))
        self.plan = plan
        self.phase = phase
        self.after = after

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        kwargs: dict[str, Any] = {"plan": self.plan, "phase": self.phase}
        if self.after:
            kwargs["after"] = self.after
        if self.state_operations:
            kwargs["state_operations"] = self.state_operations
        return self.__class__.__qualname__, [], kwargs

    def describe(self) -> str:
        return f"Phase {self.phase} of the rollout {self.plan}"

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            self.database_operations = self.state_operations
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        elif router.allow_migrate(schema_editor.connection.alias, app_label):
            self._migrate(schema_editor, back=False)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            self.database_operations = self.state_operations
            super().database_backwards(app_label, schema_editor, from_state, to_state)
        elif router.allow_migrate(schema_editor.connection.alias, app_label):
            self._migrate(schema_editor, back=True)

    def _migrate(self, schema_editor: Any, *, back: bool) -> None:
        plan = self._find_plan()
        if schema_editor.collect_sql:
            _collect(schema_editor, plan, self.after + 1, self.phase, back=back)
        else:
            _change(self, plan, schema_editor.connection, back=back)

    def _find_plan(self) -> Plan:
        try:
            return plans.get(self.plan)
        except UnknownPlan as error:
            raise CommandError(
                f"{error} A migration needs this plan: keep 'rollout' in INSTALLED_APPS, and the "
                "plan in the app's rollout.py."
            ) from error


def _collect(schema_editor: Any, plan: Plan, first: int, last: int, *, back: bool) -> None:
    """Hand the statements to ``sqlmigrate``."""
    from rollout.engine.schema_stages import statements

    for statement in statements(plan, first, last, back=back):
        if statement.said_servers:
            schema_editor.collected_sql.append(f"-- {statement.said_servers}:")
        if statement.generates:
            schema_editor.collected_sql.append("-- A query of the statements that run:")
        schema_editor.execute(statement.text, params=None)


def _change(
    operation: RolloutPhase, plan: Plan, connection: BaseDatabaseWrapper, *, back: bool
) -> None:
    from rollout.engine import schema_stages
    from rollout.journal.environments import target_of_alias

    in_journal = _is_in_journal(operation, connection.alias)
    if in_journal is not None:
        if in_journal and back:
            raise CommandError(_refusal(operation, back=back))
        if in_journal != back:
            return
    # Not Django's connection: what builds indexes beside the application needs its own session.
    with target_of_alias(connection.alias).connect() as opened:
        try:
            done = schema_stages.phases_done(opened, plan)
            if back and done > operation.after + 1:
                schema_stages.undo_phases(opened, plan, operation.after + 1, min(done, CONTRACT))
            elif not back and done <= operation.phase:
                schema_stages.run_phases(opened, plan, done, operation.phase)
        except schema_stages.NoTable as problem:
            raise CommandError(str(problem)) from problem
        except schema_stages.HasRows as problem:
            raise CommandError(_refusal(operation, problem.table, back=back)) from problem


def _refusal(operation: RolloutPhase, table: str = "", *, back: bool) -> str:
    plan, phase = operation.plan, operation.phase
    rows = f", and {table} has rows" if table else ""
    if back:
        return (
            f"Phase {phase} of {plan} is in this database{rows}. Roll it back first: "
            f"manage.py rollout rollback {plan} {phase} --wait, or in the console. Then migrate "
            "again."
        )
    return (
        f"Phase {phase} of {plan} is not done in this database{rows}. Start it first: "
        f"manage.py rollout start {plan} {phase} --wait, or in the console. Then migrate again."
    )


def _is_in_journal(operation: RolloutPhase, alias: str) -> bool | None:
    """Whether the journal has the phase as done in a database; None where it knows no run of it.

    Raises CommandError while it is neither done nor rolled back.
    """
    from rollout import journal
    from rollout.journal.environments import configured
    from rollout.models import Direction, PhaseRun, RunState

    names = [name for name, of in configured().items() if of == alias]
    try:
        with transaction.atomic(using=journal.alias()):
            newest = (
                PhaseRun.objects.filter(
                    rollout__plan=operation.plan,
                    rollout__environment__in=names,
                    phase=operation.phase,
                )
                .exclude(direction=Direction.REPAIR)
                .order_by("-id")
                .values_list("direction", "state")
                .first()
            )
    except ProgrammingError:
        # The journal's own migrations come later.
        return None
    if newest is None:
        return None
    direction, state = newest
    if state != RunState.DONE:
        raise CommandError(
            f"Phase {operation.phase} of {operation.plan} is neither done nor rolled back. Finish "
            "it in the console, then migrate again."
        )
    return bool(direction == Direction.FORWARD)
