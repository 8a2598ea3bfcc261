"""An integer key that becomes a bigint, with every column that refers to it."""

from dataclasses import dataclass
from typing import Literal

from rollout.plan.kept_phases import kept_phases
from rollout.plan.plan import Phase
from rollout.plan.table import Table
from rollout.plan.wide_columns import WideColumn, widened


@dataclass(frozen=True, kw_only=True)
class WidenKey:
    """An integer column that becomes a bigint under its name, with every column that refers to it.

    Put its ``translations`` and ``phases()`` into a plan. Each column is converted as by a
    ``Convert`` with ``keeps_name``. Keys, indexes, CHECKs, foreign keys, sequences and defaults go
    along with the name: each table's are built again over the wide column while writers continue,
    and replace those over the narrow one in one short transaction. Phase 0 does not start
    while a foreign key refers to the column that ``references`` does not name.
    """

    table: Table
    """The table of the key."""
    column: str = "id"
    """The key, or another integer column."""
    references: tuple[tuple[Table, str], ...] = ()
    """Each column that refers to it, with its table, which may be the same one."""
    depends: Literal["refuse", "recreate"] = "refuse"
    """Whether views over these columns keep phase 0 from starting, or are created again by the
    cutover and its rollback."""

    @property
    def translations(self) -> tuple[WideColumn, ...]:
        """The conversions of all its columns; those that refer to the key come first."""
        return tuple(
            widened(table, column, views=self.depends == "recreate")
            for table, column in (*self.references, (self.table, self.column))
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """Its tables in the order of their cutover: what refers to a key is wide before the key."""
        others = dict.fromkeys(table for table, _ in self.references if table != self.table)
        return (*others, self.table)

    def phases(self) -> tuple[Phase, Phase, Phase, Phase, Phase]:
        """The five phases: add, fill and prove, hand the names on, archive and drop."""
        return kept_phases(self.translations, self.tables, new="wide columns", old="narrow columns")
