"""What a scaffold is made of: translations, and the indexes that they replace."""

from dataclasses import dataclass

from rollout.engine.column_groups import ColumnGroup
from rollout.plan.errors import RolloutError
from rollout.queries.scaffold_texts import slug


class CannotScaffold(RolloutError):
    """The table or a column cannot be migrated as it is; the message says what to do."""


@dataclass(frozen=True)
class Scaffold:
    """A first plan: its name, its source, and notes for its author."""

    plan: str
    source: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A translation for the template. A conversion has ``backward``, and as ``expression`` the
    way forward; a derived one has no way back. An extraction has its ``group``."""

    constant: str
    column: str
    new: str
    comments: list[str]
    required: bool = True
    lookup_table: str = ""
    blank: str | None = ""
    type: str = ""
    expression: str = ""
    backward: str = ""
    group: ColumnGroup | None = None

    @property
    def legacy(self) -> tuple[str, ...]:
        return self.group.columns if self.group else (self.column,)

    @property
    def drops(self) -> bool:
        """Whether phase 4 drops its legacy column."""
        return self.is_lookup or bool(self.backward or self.group)

    @property
    def is_lookup(self) -> bool:
        return bool(self.lookup_table) and not self.group

    @property
    def renamed(self) -> dict[str, str]:
        """By column of the group, its name in the new table, where that is another."""
        if self.group is None:
            return {}
        short = {c: c.removeprefix(f"{self.group.prefix}_") for c in self.group.columns}
        return {c: name for c, name in short.items() if name and name != "id"}

    @property
    def create_id(self) -> str:
        return f"create-{slug(self.lookup_table)}"

    @property
    def create_description(self) -> str:
        return f"Create {'' if self.group else 'lookup '}table: {self.lookup_table}"

    @property
    def key_id(self) -> str:
        return f"{slug(self.new)}-key"

    @property
    def key_description(self) -> str:
        return f"Add foreign key: {self.new}"


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """An index of legacy columns and its replacement.

    A constraint's index is dropped with its column: no step drops it.
    """

    name: str
    columns: tuple[str, ...]
    new_name: str
    new_columns: tuple[str, ...]
    unique: bool
    of_constraint: bool
    builds: bool
    """Whether no other one that is as strict is built over the same new columns."""

    @property
    def drop_id(self) -> str:
        return f"drop-{slug(self.name)}"

    @property
    def drop_description(self) -> str:
        return f"Drop index {self.name}"

    @property
    def build_id(self) -> str:
        return f"build-{slug(self.new_name)}"

    @property
    def build_description(self) -> str:
        return f"Create index {self.new_name}"
