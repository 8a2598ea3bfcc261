"""The conversion of an integer column into a bigint that takes its name."""

from dataclasses import dataclass

from rollout.plan.kept_columns import KeptColumn
from rollout.plan.names import identifier
from rollout.plan.table import Column, Table


@dataclass(frozen=True, kw_only=True)
class WideColumn(KeptColumn):
    """An integer column that becomes a bigint of the same name, with all that is bound to it.

    It is one of those that a ``WidenKey`` makes.
    """

    views: bool = False
    """Whether views over it are created again."""

    @property
    def carries(self) -> bool:
        return self.keeps_name

    @property
    def recreates_views(self) -> bool:
        return self.views


def widened(table: Table, column: str, *, views: bool = False) -> WideColumn:
    """The conversion of a column into a bigint that takes its name."""
    wide = identifier(column, "wide")
    declared = table.columns.get(column)
    return WideColumn(
        table=table,
        legacy=(column,),
        columns={wide: Column("bigint")},
        forward={wide: "{" + column + "}"},
        backward={column: "{" + wide + "}"},
        required=declared is not None and not declared.null,
        # Every integer is a bigint: no value has to be decided about.
        unconvertible="refuse",
        keeps_name=True,
        views=views,
    )
