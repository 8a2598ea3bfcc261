"""The five phases of columns that become others of the same name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rollout.plan.archives import ArchiveLegacy
from rollout.plan.cutovers import CutOver
from rollout.plan.gates import AuditClean, SnapshotVerified
from rollout.plan.kept_columns import KeptColumn
from rollout.plan.plan import Phase, Step
from rollout.plan.removals import DropLegacy, FreezeLegacy
from rollout.plan.schema import AddColumns, RequireValues
from rollout.plan.table import Table
from rollout.plan.transition import Backfill, FullAudit, StartDualWrite, WriteBoth
from rollout.plan.trials import CompareSchemaStep


def kept_phases(
    conversions: tuple[KeptColumn, ...],
    tables: tuple[Table, ...],
    *,
    new: str,
    old: str,
    expand: tuple[Step, ...] = (),
    enforce: tuple[Step, ...] = (),
) -> tuple[Phase, Phase, Phase, Phase, Phase]:
    """Add, fill and prove, hand the names on, archive and drop; ``tables`` one after the other.

    ``new`` and ``old`` are the columns as descriptions of steps call them. ``expand`` are steps
    before the new columns are added, ``enforce`` before they take the names.
    """
    return _Phases(conversions, tables, new, old).phases(expand, enforce)


@dataclass(frozen=True)
class _Phases:
    conversions: tuple[KeptColumn, ...]
    tables: tuple[Table, ...]
    new: str
    old: str

    def phases(
        self, expand: tuple[Step, ...], enforce: tuple[Step, ...]
    ) -> tuple[Phase, Phase, Phase, Phase, Phase]:
        return (
            Phase(
                steps=(CompareSchemaStep(id="compare", description="Compare the live schema"),),
            ),
            Phase(steps=(*expand, *self._expand())),
            Phase(steps=tuple(self._backfill())),
            Phase(steps=(*enforce, *self._enforce()), gates=(AuditClean(),)),
            Phase(steps=tuple(self._contract()), gates=(SnapshotVerified(),)),
        )

    def _of(self, table: Table) -> tuple[KeptColumn, ...]:
        return tuple(t for t in self.conversions if t.table == table)

    def _expand(self) -> Iterator[Step]:
        for table in self.tables:
            words = _words("add", f"Add {self.new} to {table.label}", table)
            yield AddColumns(**words, of=self._of(table))

    def _backfill(self) -> Iterator[Step]:
        for table in self.tables:
            yield StartDualWrite(**_words("sync", f"Keep columns of {table.label} in sync", table))
        yield WriteBoth(id="write-both", description="Write both columns")
        for table in self.tables:
            yield Backfill(**_words("fill", f"Fill {self.new} of {table.label}", table))
        yield FullAudit(id="audit", description="Compare every row")

    def _enforce(self) -> Iterator[Step]:
        for table in self.tables:
            required = tuple(c for t in self._of(table) if t.required for c in t.columns)
            if required:
                words = _words("require", f"Require {self.new} of {table.label}", table)
                yield RequireValues(**words, columns=required)
        for table in self.tables:
            words = _words("cut-over", f"Hand the names of {table.label} to {self.new}", table)
            yield CutOver(**words)
        yield FullAudit(id="audit", description="Compare every row")

    def _contract(self) -> Iterator[Step]:
        for table in self.tables:
            yield FreezeLegacy(**_words("freeze", f"Freeze {self.old} of {table.label}", table))
            yield ArchiveLegacy(**_words("archive", f"Archive {self.old} of {table.label}", table))
            yield DropLegacy(**_words("drop", f"Drop {self.old} of {table.label}", table))


def _words(verb: str, description: str, table: Table) -> dict[str, Any]:
    return {"id": f"{verb}-{table.label}", "description": description, "table": table}
