"""The steps that put a rule on a table in force while the application keeps writing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.catalog import CHECK_COMMENT, Catalog, Part, check_text, unique_text
from rollout.plan.expressions import Condition
from rollout.plan.hazards import Hazard, breaking, duplicates_of, partitions_of
from rollout.plan.indexes import create_index, drop_index
from rollout.plan.names import django_name
from rollout.plan.plan import CONTRACT, ENFORCE, Actions, Plan, Step
from rollout.plan.table import Table


@dataclass(frozen=True, kw_only=True)
class AddCheck(Step):
    """A CHECK, added NOT VALID, then validated while writes continue.

    The constraint gets its condition as a comment too: the server writes the condition in a form of
    its own, and a constraint that replaces it has no such comment, which is drift.
    """

    table: Table
    """The table that gets it."""
    name: str
    """The name of the constraint."""
    condition: str
    """SQL over the row, with columns in braces; a row for which it is false is refused."""
    phases = frozenset({ENFORCE, CONTRACT})
    restrictive = True

    @cached_property
    def _condition(self) -> Condition:
        return Condition(self.condition)

    @property
    def expressions(self) -> Mapping[str, str]:
        return {"condition": self.condition}

    @property
    def needs(self) -> tuple[str, ...]:
        return self._condition.columns

    @property
    def _comment(self) -> str:
        return f"{CHECK_COMMENT}{self._condition}"

    def forward(self, plan: Plan) -> Actions:
        names = {"table": self.table.identifier, "name": sql.Identifier(self.name)}
        return (
            Statement(
                sql=sql.SQL(
                    "ALTER TABLE {table} ADD CONSTRAINT {name} CHECK {condition} NOT VALID;\n"
                    "COMMENT ON CONSTRAINT {name} ON {table} IS {comment}"
                ).format(
                    condition=self._condition.sql, comment=sql.Literal(self._comment), **names
                ),
                done=facts.check_exists(self.table, self.name, self._comment),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.table.label),),
            ),
            Statement(
                sql=sql.SQL("ALTER TABLE {table} VALIDATE CONSTRAINT {name}").format(**names),
                done=facts.check_exists(self.table, self.name, self._comment, validated=True),
                locks=(Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, self.table.label),),
                long=True,
                scans=1,
                refused_by=self._breaking,
            ),
        )

    def backward(self, plan: Plan) -> Actions:
        return (
            Statement(
                sql=sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    self.table.identifier, sql.Identifier(self.name)
                ),
                # One that the application has by that name is left alone.
                done=facts.no(facts.check_exists(self.table, self.name, self._comment)),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.table.label),),
            ),
        )

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        part = Part("constraint", self.name)
        catalog.put(self.table.label, part, check_text(str(self._condition)))

    @property
    def _breaking(self) -> Hazard:
        return breaking(self.table, self._condition.sql, str(self._condition))

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        return (self._breaking, partitions_of(self.table))


@dataclass(frozen=True, kw_only=True)
class AddUnique(Step):
    """A UNIQUE constraint, whose index is built concurrently first.

    It has the name that Django would give it unless ``name`` says otherwise.
    """

    table: Table
    """The table that gets it; not a partitioned one."""
    columns: tuple[str, ...]
    """Its columns, in order."""
    name: str = ""
    """The name of constraint and index; empty for the name that Django would give it."""
    phases = frozenset({ENFORCE, CONTRACT})
    restrictive = True
    unique: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return self.columns

    @property
    def constraint(self) -> str:
        return self.name or django_name(self.table.name, self.columns, "_uniq")

    def forward(self, plan: Plan) -> Actions:
        name = sql.Identifier(self.constraint)
        return (
            *create_index(self.table, self.constraint, self.columns, unique=True),
            Statement(
                sql=sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} UNIQUE USING INDEX {}").format(
                    self.table.identifier, name, name
                ),
                done=facts.unique_exists(self.table, self.constraint, self.columns),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.table.label),),
            ),
        )

    def backward(self, plan: Plan) -> Actions:
        return (
            Statement(
                sql=sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    self.table.identifier, sql.Identifier(self.constraint)
                ),
                done=facts.no(facts.unique_exists(self.table, self.constraint, self.columns)),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.table.label),),
            ),
            # What a build left that never became a constraint.
            *drop_index(self.table, self.constraint),
        )

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        part = Part("constraint", self.constraint)
        catalog.put(self.table.label, part, unique_text(self.columns))
        # Until the constraint has it.
        catalog.know(self.table.label, Part("index", self.constraint))

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        return (duplicates_of(self.table, self.columns), partitions_of(self.table))
