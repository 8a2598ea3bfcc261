"""The checklist of phase 0: what must be done before anything in the database changes.

Some items are checked in the journal or the database; people mark the others as done.
"""

from dataclasses import dataclass
from os.path import basename


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item that a person marks as done. ``help`` says how to do it."""

    id: str
    """Unique in the plan."""
    text: str
    """What must be done."""
    help: str = ""
    """How to do it."""
    rollback_scripts: bool = False
    """Whether the page offers the rollback scripts of the plan with it."""


@dataclass(frozen=True, kw_only=True)
class StepsDescribed(Item):
    """Every step of the plan has an id and a description."""

    id: str = "steps-described"
    text: str = "Every step has an id and a description"


@dataclass(frozen=True, kw_only=True)
class FlowsTested(Item):
    """Every smoke test of the plan passed when it was last run."""

    id: str = "flows-tested"
    text: str = "Smoke tests pass"


@dataclass(frozen=True, kw_only=True)
class TypesMatch(Item):
    """The file of TypeScript interfaces has the current schema or that of the next phase.

    The pages check it in every phase.
    """

    id: str = "types-match"
    text: str = "TypeScript types match the schema"
    file: str
    """Its path, absolute or relative to manage.py."""

    @property
    def file_name(self) -> str:
        return basename(self.file)


@dataclass(frozen=True, kw_only=True)
class EnvironmentIntrospected(Item):
    """The schema of another environment matches the plan.

    Without an environment's name: that of a rehearsal of this plan version that passed.
    """

    id: str = "staging-introspected"
    text: str = "Schema verified in a rehearsal or staging"
    environment: str = ""
    """The environment; empty for a rehearsal."""


@dataclass(frozen=True, kw_only=True)
class BackfillRehearsed(Item):
    """Phase 2 of this plan version finished in another environment.

    Without an environment's name: in a rehearsal, or in any environment but this one.
    """

    id: str = "backfill-rehearsed"
    text: str = "Backfill rehearsed"
    environment: str = ""
    """The environment; empty for a rehearsal, or any environment but this one."""
