"""The checklist of phase 0: what must be settled before anything in the database changes.

The journal or the database answers some items; a person ticks the others, by name.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item that a person ticks. ``help`` says how it is seen to."""

    id: str
    text: str
    help: str = ""
    rollback_scripts: bool = False
    """Whether the page offers the rollback scripts of the plan beside it."""


@dataclass(frozen=True, kw_only=True)
class StepsDescribed(Item):
    """Every step of the plan has an id and a description."""

    id: str = "steps-described"
    text: str = "Every step has an id and a description"


@dataclass(frozen=True, kw_only=True)
class FlowsTested(Item):
    """Every flow that the plan probes passed when it was last tried out."""

    id: str = "flows-tested"
    text: str = "The flows that matter were tried out"


@dataclass(frozen=True, kw_only=True)
class TypesMatch(Item):
    """The file of TypeScript interfaces that clients use has the schema in force, or the next.

    The pages tell in every phase whether it does.
    """

    id: str = "types-match"
    text: str = "The clients' TypeScript interfaces match the schema"
    file: str
    """Its path, absolute or beside manage.py."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentIntrospected(Item):
    """The schema of a staging database is what the plan expects.

    Without an environment's name, that of a rehearsal of the plan as it is, which passed.
    """

    id: str = "staging-introspected"
    text: str = "The schema of a staging database is what the plan expects"
    environment: str = ""


@dataclass(frozen=True, kw_only=True)
class BackfillRehearsed(Item):
    """The backfill ran elsewhere, as the plan defines it now.

    Without an environment's name: in a rehearsal, or in any environment but this one.
    """

    id: str = "backfill-rehearsed"
    text: str = "The backfill was rehearsed"
    environment: str = ""
