"""Conversions of one column into one that takes its name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from rollout.plan.conversions import Convert, with_names
from rollout.plan.table import Table


@dataclass(frozen=True, kw_only=True)
class KeptColumn(Convert):
    """A column that becomes another one of the same name, made by a declaration of its own."""

    declared_name: str = ""
    """The name that the new column is declared with, once it has another one."""

    def declared(self, column: str) -> str:
        return self.declared_name or column

    def renamed(self, table: Table, names: Mapping[str, str]) -> Self:
        (legacy,), (new,) = self.legacy, self.columns
        return replace(
            self,
            table=table,
            legacy=(names[legacy],),
            columns={names[new]: self.columns[new]},
            forward=with_names(self.forward, names),
            backward=with_names(self.backward, names),
            keeps_name=False,
            declared_name=new,
        )
