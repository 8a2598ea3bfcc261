"""The step that has a Python function of the project work on rows in batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from psycopg import sql

from rollout.plan.actions import Compute
from rollout.plan.expressions import Condition
from rollout.plan.plan import BACKFILL, CONTRACT, ENFORCE, Actions, Plan, Step
from rollout.plan.table import Table


@dataclass(frozen=True, kw_only=True)
class Task(Compute):
    """Have a Python function do whatever it does to every row that meets ``where``.

    ``function`` is the dotted path of ``function(rows, connection)``. It works in the transaction
    that the batch's checkpoint commits with, and leaves no row that meets the condition.
    """

    kind: ClassVar[str] = "task"
    columns: tuple[str, ...] = ()
    where: Condition

    @property
    def wrong(self) -> sql.Composable:
        """SQL condition: row ``t`` is left to do."""
        return self.where.sql

    @property
    def text(self) -> str:
        return (
            f"-- {self.function}({', '.join(self.reads)}) for each row of {self.table.label} "
            f"where {self.where}"
        )


@dataclass(frozen=True, kw_only=True)
class RunTask(Step):
    """A Python function works on rows in batches, each with the checkpoint in one transaction."""

    table: Table
    """The table of the rows."""
    function: str
    """Dotted path of ``function(rows, connection)``."""
    where: str
    """SQL over the row, with columns in braces: true while the row is left to do."""
    reads: tuple[str, ...] = ()
    """The columns that the function gets of each row, besides the key."""
    undo: str
    """The same for the rollback; empty if there is nothing to undo."""
    undo_where: str = ""
    """True while a row is left to undo."""
    phases = frozenset({BACKFILL, ENFORCE, CONTRACT})
    changes_write_path = True

    @cached_property
    def _left(self) -> Condition:
        return Condition(self.where)

    @cached_property
    def _left_to_undo(self) -> Condition:
        return Condition(self.undo_where or "false")

    @property
    def expressions(self) -> Mapping[str, str]:
        return {"where": self.where, "undo_where": self.undo_where}

    @property
    def needs(self) -> tuple[str, ...]:
        named = (*self.reads, *self._left.columns, *self._left_to_undo.columns)
        return tuple(dict.fromkeys(named))

    def _task(self, function: str, where: Condition) -> Task:
        return Task(
            table=self.table,
            function=function,
            where=where,
            reads=tuple(dict.fromkeys((*self.table.key, *self.reads))),
        )

    def forward(self, plan: Plan) -> Actions:
        return (self._task(self.function, self._left),)

    def backward(self, plan: Plan) -> Actions:
        return (self._task(self.undo, self._left_to_undo),) if self.undo else ()
