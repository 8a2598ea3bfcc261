"""What people decide about texts, what comes of it, and what cannot be decided."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rollout.engine.mapping.texts import normal_forms
from rollout.engine.target import Connection
from rollout.plan.errors import RolloutError
from rollout.plan.translations import Lookup


class CannotDecide(RolloutError):
    """Decisions that are refused. ``problems`` holds the reason by normal form."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


class MappingLocked(RolloutError):
    """A transaction of the application holds the mapping: it wrote a text that is new there."""


@dataclass(frozen=True)
class Decision:
    """What a text becomes: the lookup row of a name, or no value. ``by_default`` takes it back."""

    name: str | None = None
    by_default: bool = False


@dataclass(frozen=True)
class Change:
    """One text that means another row than before. ``moved`` says whether rows must follow it.

    A lookup row that is only renamed moves nothing. ``rows`` is None where counting took too long.
    ``unmapped`` says that nothing told before what the text means; ``before`` is None then.
    """

    legacy: str
    normal: str
    before: str | None
    after: str | None
    rows: int | None
    moved: bool
    unmapped: bool = False


@dataclass(frozen=True)
class Outcome:
    """What decisions change. ``rows_affected`` counts filled rows that must follow; None: unknown.

    ``decided`` is how many normal forms have another decision than before, those included whose
    texts mean what they meant; ``earlier`` are the decisions before, which undo these.
    ``new_names`` are those that only these decisions give a lookup row, made now or by phase 2;
    ``taken_back`` are the normal forms whose decisions the plan's default takes the place of.
    """

    changes: list[Change]
    made: list[str]
    renamed: list[tuple[str, str]]
    retired: list[str]
    mapped: bool
    decided: int
    earlier: dict[str, Decision] = field(default_factory=dict)
    new_names: list[str] = field(default_factory=list)
    taken_back: frozenset[str] = frozenset()

    @property
    def is_reset(self) -> bool:
        """Whether it decides on nothing, and only takes decisions back."""
        return bool(self.taken_back) and len(self.taken_back) == self.decided

    @property
    def rows_affected(self) -> int | None:
        if not self.mapped:
            return 0
        return _rows_of(change for change in self.changes if change.moved)

    @property
    def newly_mapped(self) -> int:
        """How many texts it maps that nothing spoke for before."""
        return sum(change.unmapped for change in self.changes)

    @property
    def rows_changed(self) -> int | None:
        """Rows whose text means something else than before, filled or not; None: unknown."""
        return _rows_of(self.changes)


@dataclass(frozen=True)
class Meaning:
    """A lookup row and its name; no row before there are any. Not ``known``: nothing says it.

    ``form`` is the normal form of the name, which tells rows apart before there are any.
    """

    row: int | None
    name: str | None
    known: bool
    form: str | None = None


UNKNOWN_MEANING = Meaning(None, None, known=False)
# By text and normal form.
Meanings = dict[tuple[str, str], Meaning]


def _rows_of(changes: Iterable[Change]) -> int | None:
    counts = [change.rows for change in changes]
    return None if None in counts else sum(n for n in counts if n is not None)


def checked(lookup: Lookup, wanted: Mapping[str, Decision]) -> dict[str, Decision]:
    """The decisions with their names tidied. Raises CannotDecide."""
    checked: dict[str, Decision] = {}
    problems: dict[str, str] = {}
    for form, decision in wanted.items():
        if form == "":
            problems[form] = (
                "Blank values are set by the plan (blank= of the lookup). Change them there."
            )
            continue
        name = decision.name
        if decision.by_default:
            checked[form] = Decision(by_default=True)
            continue
        if name is None and lookup.required:
            # There is a row for texts without a value, and the column must have one.
            name = lookup.blank
        name = " ".join(name.split()) if name is not None else None
        if name == "":
            problems[form] = "Enter a name, or choose “no value”."
        elif name is not None and "\x00" in name:
            problems[form] = "Names cannot contain NUL characters. Enter another name."
        elif name is not None and len(name) > lookup.longest:
            problems[form] = (
                f"The name has {len(name):,} characters; the maximum is {lookup.longest}. Enter a "
                "shorter name."
            )
        else:
            checked[form] = Decision(name=name)
    if problems:
        raise CannotDecide(problems)
    return checked


def by_form(connection: Connection, decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """The decisions by normal form, which the target works out. Raises CannotDecide."""
    forms = normal_forms(connection, list(decisions))
    wanted: dict[str, Decision] = {}
    problems: dict[str, str] = {}
    for text, decision in decisions.items():
        form = forms[text]
        if wanted.setdefault(form, decision) != decision:
            problems[form] = (
                f"“{text}” differs from another value only in case or whitespace. Map both to the "
                "same row."
            )
    if problems:
        raise CannotDecide(problems)
    return wanted
