"""A text column that becomes an enum type, or gets a CHECK of its values."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from psycopg import sql

from rollout.plan.constraints import AddCheck
from rollout.plan.enum_types import EnumType
from rollout.plan.hazards import Hazard
from rollout.plan.kept_phases import kept_phases
from rollout.plan.names import identifier
from rollout.plan.plan import EXPAND, Actions, Phase, Plan, Step
from rollout.plan.table import Table
from rollout.plan.translations import Translation
from rollout.plan.vocabulary_columns import VocabularyColumn, condition_of, limited


@dataclass(frozen=True, kw_only=True)
class _Vocabulary(ABC):
    """What both declarations have in common."""

    table: Table
    """The table of the column."""
    column: str
    """The text column."""
    values: tuple[str, ...]
    """The values of the vocabulary."""
    synonyms: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Text to the value that it means, besides its own spellings; `""` is no value."""
    required: bool = True
    """Whether the column becomes NOT NULL."""
    unconvertible: Literal["quarantine", "null", "refuse"] = "quarantine"
    """What becomes of a row whose text is outside of the vocabulary."""

    @property
    @abstractmethod
    def translation(self) -> VocabularyColumn:
        """The conversion of the column."""

    @property
    def translations(self) -> tuple[Translation, ...]:
        return (self.translation,)

    @abstractmethod
    def phases(self) -> tuple[Phase, Phase, Phase, Phase, Phase]:
        """The five phases: add, fill and prove, hand the name on, archive and drop."""

    def _phases(
        self, new: str, *, expand: tuple[Step, ...] = (), enforce: tuple[Step, ...] = ()
    ) -> tuple[Phase, Phase, Phase, Phase, Phase]:
        conversions, tables = (self.translation,), (self.table,)
        old = "the text column"
        return kept_phases(conversions, tables, new=new, old=old, expand=expand, enforce=enforce)

    def _limited(self, enum: EnumType | None) -> VocabularyColumn:
        return limited(
            table=self.table,
            column=self.column,
            values=self.values,
            synonyms=self.synonyms,
            enum=enum,
            required=self.required,
            unconvertible=self.unconvertible,
        )


@dataclass(frozen=True, kw_only=True)
class ToEnum(_Vocabulary):
    """A text column that becomes an enum type under its name.

    Put its ``translations`` and ``phases()`` into a plan. The column is converted as by a
    ``Convert`` with ``keeps_name``. A text means the value that it equals but for case and white
    space, or whose synonym it is; blank texts mean no value.
    """

    type: str
    """The name of the new enum type, in the schema of the table."""

    @property
    def enum(self) -> EnumType:
        return EnumType(self.type, self.values, self.table.schema)

    @property
    def translation(self) -> VocabularyColumn:
        return self._limited(self.enum)

    def phases(self) -> tuple[Phase, Phase, Phase, Phase, Phase]:
        create = CreateEnum(
            id=f"create-{self.type}", description=f"Create enum type {self.type}", vocabulary=self
        )
        return self._phases("the enum column", expand=(create,))


@dataclass(frozen=True, kw_only=True)
class ToCheck(_Vocabulary):
    """A text column that gets a CHECK of its values, with its texts spelt as these are.

    Put its ``translations`` and ``phases()`` into a plan. The column is converted as by a
    ``Convert`` with ``keeps_name``. A text means the value that it equals but for case and white
    space, or whose synonym it is; blank texts mean no value.
    """

    name: str = ""
    """The name of the constraint; empty for the one that PostgreSQL would give it."""

    @property
    def translation(self) -> VocabularyColumn:
        return self._limited(None)

    @property
    def constraint(self) -> str:
        return self.name or identifier(self.table.name, self.column, "check")

    @property
    def condition(self) -> str:
        """The condition of the CHECK, for an ``AddCheck`` before the cutover."""
        return condition_of(next(iter(self.translation.columns)), self.values)

    def phases(self) -> tuple[Phase, Phase, Phase, Phase, Phase]:
        check = AddCheck(
            id=f"check-{self.column}",
            description=f"Allow only the values of {self.column}",
            table=self.table,
            name=self.constraint,
            condition=self.condition,
        )
        return self._phases("the checked column", enforce=(check,))


@dataclass(frozen=True, kw_only=True)
class CreateEnum(Step):
    """The enum type that a column becomes."""

    vocabulary: ToEnum
    """The declaration whose type is created."""
    phases = frozenset({EXPAND})

    @property
    def enum(self) -> EnumType:
        return self.vocabulary.enum

    def forward(self, plan: Plan) -> Actions:
        return (self.enum.create(plan.name),)

    def backward(self, plan: Plan) -> Actions:
        return (self.enum.drop(plan.name),)

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        enum = self.enum
        return (
            Hazard(
                name=f"type {enum.label}",
                sql=sql.SQL(
                    "SELECT count(*), NULL::text FROM pg_type WHERE oid = {} AND NOT {}"
                ).format(enum.regtype, enum.has_values(plan.name)),
                finding=f"{{count}} type is called {enum.label} already.",
                none=f"The name of the type {enum.label} is free, or the plan's own.",
                advice="Choose another name. If it is this plan's and its values changed since, "
                "roll phase 1 back first.",
                stays=True,
            ),
        )
