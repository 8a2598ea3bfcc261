"""An integer key that becomes a bigint, with every column that refers to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from rollout.plan.archives import ArchiveLegacy
from rollout.plan.cutovers import CutOver
from rollout.plan.gates import AuditClean, SnapshotVerified
from rollout.plan.plan import Phase, Step
from rollout.plan.removals import DropLegacy, FreezeLegacy
from rollout.plan.schema import AddColumns, RequireValues
from rollout.plan.table import Table
from rollout.plan.transition import Backfill, FullAudit, StartDualWrite, WriteBoth
from rollout.plan.trials import CompareSchemaStep
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

    def of(self, table: Table) -> tuple[WideColumn, ...]:
        """The conversions of one of its tables."""
        return tuple(t for t in self.translations if t.table == table)

    def phases(self) -> tuple[Phase, Phase, Phase, Phase, Phase]:
        """The five phases: add, fill and prove, hand the names on, archive and drop."""
        contract = (
            step
            for table in self.tables
            for step in (
                FreezeLegacy(**_words("freeze", f"Freeze narrow columns of {table.label}", table)),
                ArchiveLegacy(**_words("archive", f"Archive them from {table.label}", table)),
                DropLegacy(**_words("drop", f"Drop narrow columns of {table.label}", table)),
            )
        )
        return (
            Phase(
                steps=(CompareSchemaStep(id="compare", description="Compare the live schema"),),
            ),
            Phase(steps=tuple(self._expand())),
            Phase(steps=tuple(self._backfill())),
            Phase(steps=tuple(self._enforce()), gates=(AuditClean(),)),
            Phase(steps=tuple(contract), gates=(SnapshotVerified(),)),
        )

    def _expand(self) -> Iterator[Step]:
        for table in self.tables:
            words = _words("add", f"Add wide columns to {table.label}", table)
            yield AddColumns(**words, of=self.of(table))

    def _backfill(self) -> Iterator[Step]:
        for table in self.tables:
            yield StartDualWrite(**_words("sync", f"Keep columns of {table.label} in sync", table))
        yield WriteBoth(id="write-both", description="Write both columns")
        for table in self.tables:
            yield Backfill(**_words("fill", f"Fill the wide columns of {table.label}", table))
        yield FullAudit(id="audit", description="Compare every row")

    def _enforce(self) -> Iterator[Step]:
        for table in self.tables:
            required = tuple(c for t in self.of(table) if t.required for c in t.columns)
            if required:
                words = _words("require", f"Require wide columns of {table.label}", table)
                yield RequireValues(**words, columns=required)
        for table in self.tables:
            words = _words("cut-over", f"Hand the names of {table.label} to wide columns", table)
            yield CutOver(**words)
        yield FullAudit(id="audit", description="Compare every row")


def _words(verb: str, description: str, table: Table) -> dict[str, Any]:
    return {"id": f"{verb}-{table.label}", "description": description, "table": table}
