"""Mapping reviews, and repairs of rows."""

from __future__ import annotations

from typing import Any

from django.db import models

from rollout.models.audits import AuditReport
from rollout.models.rollouts import Rollout
from rollout.models.runs import PhaseRun

EVERY_TABLE = "every table"


class MappingChange(models.Model):
    """A review of legacy values that somebody applied to a lookup's mapping, or to those that a
    conversion has no value for: ``legacy_column`` are the columns that it reads then.

    ``changes`` is a list of {"legacy": text, "before": lookup name or null, "after": lookup name or
    null (no value), "rows": how many rows had the text then or null, "moved": whether filled rows
    must follow; they need not where a lookup row is renamed, "unmapped": whether nothing told
    before what the text means, "by_default": whether the plan's default takes a decision's place,
    of a mapping}; where a decision about a value that does not convert was taken
    back, "taken_back" is true.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="mapping_changes")
    table = models.CharField(max_length=130)
    legacy_column = models.CharField(max_length=1000)
    reviewer = models.CharField(max_length=150)
    at = models.DateTimeField()
    changes: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        default=list
    )
    decided = models.PositiveIntegerField(default=0)
    """Normal forms that have another decision than before, confirmed ones included."""
    earlier: models.JSONField[list[list[Any]], list[list[Any]]] = models.JSONField(default=list)
    """What was decided before: [normal form, name or null, whether it was the plan's default]."""
    mapped = models.BooleanField(default=True)
    """Whether phase 2 had mapped the values, so that the application's writes followed at once."""
    rows_affected = models.BigIntegerField(null=True)
    """Filled rows whose value was another than the mapping says from then on; null: not counted."""
    rows_changed = models.BigIntegerField(null=True)
    """Rows whose text means something else from then on, filled or not; null: not counted."""

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["rollout", "-id"])]

    def __str__(self) -> str:
        return f"{len(self.changes)} values of {self.table}.{self.legacy_column}"

    def log_data(self) -> dict[str, Any]:
        return {"change": self.pk}

    @property
    def moves_rows(self) -> bool:
        return any(change["moved"] for change in self.changes)

    @property
    def to_update(self) -> str:
        """What to do with its rows: ``Update 4 rows``."""
        if self.rows_affected is None:
            return "Update rows"
        return f"Update {self.rows_affected:,} row{'' if self.rows_affected == 1 else 's'}"

    @property
    def newly_mapped(self) -> int:
        """How many texts it mapped that were unmapped before."""
        return sum(change.get("unmapped", False) for change in self.changes)

    @property
    def is_reset(self) -> bool:
        """Whether it took decisions about a mapping back, and made none."""
        return bool(self.changes) and all(c.get("by_default", False) for c in self.changes)

    @property
    def taken_back(self) -> int:
        """How many decisions about values that do not convert it took back."""
        return sum(change.get("taken_back", False) for change in self.changes)


class Repair(models.Model):
    """The rows that a repair run corrects, and what they were before.

    ``selection`` is {"columns": [...], "categories": [...], "legacy": [texts] or null,
    "keys": [[key texts], ...] or null}: rows are those that meet all that is given.
    ``examples`` are rows as they were: [{"key", "column", "legacy", "before", "after"}].
    ``cells`` are the rows before, by column: [{"table", "column", "category", "rows"}]. A row may
    be wrong in several columns.
    """

    run = models.OneToOneField(PhaseRun, on_delete=models.CASCADE, related_name="repair")
    report = models.ForeignKey(
        AuditReport, null=True, on_delete=models.SET_NULL, related_name="repairs"
    )
    change = models.ForeignKey(
        MappingChange, null=True, on_delete=models.SET_NULL, related_name="repairs"
    )
    table = models.CharField(max_length=130, blank=True)
    """Empty for every table that the plan fills."""
    selection: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    rows_expected = models.BigIntegerField(default=0)
    rows_repaired = models.BigIntegerField(null=True)
    before: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Categories to rows, before."""
    after: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    cells: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        default=list
    )
    examples: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        default=list
    )

    def __str__(self) -> str:
        return f"repair of {self.rows}"

    @property
    def tables(self) -> str:
        """The repaired table or tables, for people: those of its rows once they are counted."""
        counted = {cell["table"] for cell in self.cells}
        return self.table or (counted.pop() if len(counted) == 1 else EVERY_TABLE)

    @property
    def rows(self) -> str:
        """What it repairs, as exactly as is known once its rows are counted."""
        if not self.cells or self.tables == EVERY_TABLE:
            return self.tables
        rows = f"{self.rows_expected:,} row{'' if self.rows_expected == 1 else 's'}"
        return f"{rows} of {self.tables}"

    @property
    def subject(self) -> str:
        """The same with the column, where it is one."""
        columns = {cell["column"] for cell in self.cells}
        return f"{self.rows}, column {columns.pop()}" if len(columns) == 1 else self.rows
