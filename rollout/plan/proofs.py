"""A pass that compares every row and changes none."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from psycopg import sql
from psycopg.sql import Composable, Composed

from rollout.plan.table import Table
from rollout.plan.updates import left_joins


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Compare every row with what the engine keeps of it, in short batches while writers continue.

    ``source`` is a table of the engine's own that goes later; None where nothing goes. Of each
    of ``joins`` a row meets at most one row, by ``matches``.
    ``differs`` is SQL over row ``t`` of what is wrong with it, null where it is right; a row that
    differs fails the step, which names it. ``exact``: the row is compared to the letter, because
    nobody has written it since. ``recorded`` is SQL of the fingerprint that all rows together had
    when they were written down, null where nothing was. ``done``: nothing is left to compare.
    """

    kind: ClassVar[str] = "proof"
    named: ClassVar[None] = None
    table: Table
    differs: Composable
    joins: tuple[Composable, ...] = ()
    matches: tuple[Composable, ...] = ()
    source: sql.Identifier | None = None
    exact: Composable
    recorded: Composable | None = None
    done: Composable | None = None
    outcome: Literal["kept", "restored", "meant", "archived"]
    """Whether it shows that what was kept is whole, that all of it was brought back, that every
    legacy text means its lookup row, or that all of it would be brought back."""
    careful: Composable | None = None

    @property
    def guarded(self) -> "Proof":
        """The same comparison, of rows of which some may raise."""
        return replace(self, differs=self.careful or self.differs)

    @property
    def asks_recorded(self) -> Composed:
        """A query of the fingerprint that was written down."""
        assert self.recorded is not None
        return sql.SQL("SELECT {}").format(self.recorded)

    @property
    def print_of_row(self) -> Composable:
        """SQL of row ``t``'s part in the fingerprint."""
        if self.recorded is None:
            return sql.SQL("0")
        return sql.SQL("hash_record_extended(t.*, 0)")

    def compared(
        self,
        condition: Composable,
        *,
        relation: sql.Identifier | None = None,
        since: Composable | None = None,
    ) -> Composed:
        """A query of the ``key`` of each row, what ``differs``, ``exact`` and its ``print``.

        ``since`` is handed on: whether the row was written since the comparison began.
        """
        return sql.SQL(
            "SELECT {} AS key, {} AS differs, coalesce({}, false) AS exact, {} AS print,"
            " {} AS since FROM {} AS t{} WHERE {}"
        ).format(
            self.table.key_texts("t"),
            self.differs,
            self.exact,
            self.print_of_row,
            since or sql.SQL("false"),
            relation or self.table.identifier,
            left_joins(self.joins, self.matches),
            condition,
        )

    @property
    def asks_differing(self) -> Composed:
        """A query of how many rows of the whole table differ, and of one of them: its key, how."""
        return sql.SQL(
            "SELECT count(*), (array_agg(array_to_string(key, ', ') ORDER BY key))[1],"
            " (array_agg(differs ORDER BY key))[1] FROM ({}) AS compared WHERE differs IS NOT NULL"
        ).format(self.compared(sql.SQL("true")))

    @property
    def text(self) -> str:
        return self.compared(sql.SQL("/* rows of the batch */ true")).as_string()
