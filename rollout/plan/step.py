"""What every step of a phase knows: what it does, how it is undone, and when it is safe."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rollout.plan.actions import Action
from rollout.plan.catalog import Catalog
from rollout.plan.hazards import Hazard
from rollout.plan.table import Column
from rollout.plan.translations import Translation

if TYPE_CHECKING:
    from rollout.plan.plan import Plan

Actions = tuple[Action, ...]
# The expected columns: table label to column name to column.
Shape = dict[str, dict[str, Column]]

PREPARE, EXPAND, BACKFILL, ENFORCE, CONTRACT = range(5)


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One thing that a phase does, and how it is undone.

    ``forward`` and ``backward`` give the actions of each way; every action can be run again.
    ``backward`` answers ``None`` when there is no way back, and ``()`` when nothing is to undo.
    """

    id: str
    """Unique in its phase. The journal knows the step by it, so it never changes."""
    description: str
    """What people read, in the imperative."""
    phases: ClassVar[frozenset[int]] = frozenset(range(5))
    """The phases in which the step is safe."""
    destructive: ClassVar[bool] = False
    """Whether something goes that was there: columns, rows, indexes."""
    restrictive: ClassVar[bool] = False
    """Whether writes are refused from now on that were allowed before."""
    changes_write_path: ClassVar[bool] = False
    """Whether an audit made before the step says nothing about what is written after it."""

    @property
    def level(self) -> str:
        """``destructive``, ``restrictive`` or empty: the worse of what it is."""
        return "destructive" if self.destructive else "restrictive" if self.restrictive else ""

    @abstractmethod
    def forward(self, plan: "Plan") -> Actions: ...

    @abstractmethod
    def backward(self, plan: "Plan") -> Actions | None: ...

    def reshape(self, plan: "Plan", shape: Shape) -> None:
        """Change the expected columns as the step changes the table."""

    def assume(self, plan: "Plan", catalog: Catalog) -> None:
        """Put into the expected catalog what the step relies on being there before the plan."""

    def recatalog(self, plan: "Plan", catalog: Catalog) -> None:
        """Change the expected catalog, columns aside, as the step changes the database."""

    def defaults_by_data(self, plan: "Plan") -> dict[tuple[str, str], str]:
        """Defaults that the step sets to what the data says, in words, by table label and column.

        The expected catalog cannot have them: their values are known once the step has run.
        """
        return {}

    def hazards(self, plan: "Plan") -> tuple[Hazard, ...]:
        """Questions to the data whose answers would make the step fail, or cost something."""
        return ()

    @property
    def translations(self) -> tuple[Translation, ...]:
        """The translations that the step names; a plan check looks for each in the plan."""
        return ()

    @property
    def checksum(self) -> str:
        """Checksum of the files that the step is read from; empty without files."""
        return ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of ``table`` that must exist when the step runs."""
        return ()
