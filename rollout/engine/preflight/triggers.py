"""Triggers of the application's own beside those of the dual write: what each sees and changes.

PostgreSQL fires triggers of one event in the order of their names, so what a trigger reads and what
it changes is right in one place only, and that place moves when the new columns come to lead.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rollout.engine.preflight.functions import Function, code_of, names_column
from rollout.engine.preflight.item import Item, Scope, oids_of, rows
from rollout.engine.target import Connection
from rollout.plan.cutovers import CutOver
from rollout.plan.names import SCHEMA
from rollout.plan.plan import BACKFILL
from rollout.plan.table import Table
from rollout.plan.transition import StartDualWrite, triggers

_STATEMENT = r"(?:^|;|\bbegin\b|\bthen\b|\belse\b|\bloop\b)\s*"


@dataclass(frozen=True)
class _Trigger:
    name: str
    table: str
    before_row: bool
    events: frozenset[str]
    columns: tuple[str, ...]
    """The columns of ``UPDATE OF``; empty for an update of any."""
    function: Function
    """With the condition of the trigger in its text."""

    def __str__(self) -> str:
        return f"{self.name} on {self.table}"


def _triggers(connection: Connection, table: Table) -> Iterator[_Trigger]:
    """The table's enabled triggers that are not the engine's, in the order in which they fire."""
    triggers = rows(
        connection,
        """
        SELECT DISTINCT ON (g.tgname) g.tgname::text, g.tgrelid::regclass::text,
               (g.tgtype & 3) = 3, (g.tgtype & 4) <> 0, (g.tgtype & 16) <> 0,
               ARRAY(SELECT a.attname::text FROM unnest(g.tgattr::smallint[]) AS u (n)
                       JOIN pg_attribute a ON a.attrelid = g.tgrelid AND a.attnum = u.n),
               l.lanname::text, p.prosrc, g.tgargs,
               substring(pg_get_triggerdef(g.oid) FROM ' WHEN (.*) EXECUTE (?:FUNCTION|PROCEDURE) ')
          FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
          JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE g.tgrelid = ANY (%(oids)s::oid[]) AND NOT g.tgisinternal AND g.tgenabled <> 'D'
           AND n.nspname <> %(own)s
         ORDER BY g.tgname, g.tgparentid
        """,
        oids=oids_of(connection, [table.label]),
        own=SCHEMA,
    )
    for name, of, before, insert, update, columns, language, text, given, condition in triggers:
        arguments = tuple(given.decode().split("\0"))
        yield _Trigger(
            name=name,
            table=of,
            before_row=before,
            events=frozenset(
                event for event, has in (("insert", insert), ("update", update)) if has
            ),
            columns=tuple(columns),
            function=Function(
                name, language, f"{code_of(text)}; {condition or ''}", name, arguments
            ),
        )


def order(connection: Connection, scope: Scope) -> Item:
    """BEFORE triggers that see or change a legacy text on the wrong side of the dual write."""
    name = "order of triggers"
    problems = [
        sentence
        for table in _tables(scope, StartDualWrite if scope.phase == BACKFILL else CutOver)
        for trigger in _triggers(connection, table)
        if trigger.before_row
        for sentence in _out_of_order(scope, table, trigger)
    ]
    if not problems:
        return Item(name, "pass", f"Triggers of {scope.tables} read and write in the right order.")
    return Item(
        name,
        "blocks",
        " ".join(problems),
        "Rename each with ALTER TRIGGER … RENAME TO: triggers fire in the order of their names.",
    )


def _out_of_order(scope: Scope, table: Table, trigger: _Trigger) -> Iterator[str]:
    own = triggers(scope.plan, table)
    of_event = {"insert": own.insert_trigger, "update": own.update_trigger}
    reads = dict.fromkeys(
        column
        for t in (*scope.plan.translations_of(table), *scope.plan.computed_of(table))
        for column in t.reads
    )
    legacy = scope.plan.legacy_of(table)
    # As PostgreSQL compares names: by their bytes.
    after = [of_event[e] for e in sorted(trigger.events) if trigger.name > of_event[e]]
    before = [of_event[e] for e in sorted(trigger.events) if trigger.name < of_event[e]]
    for column in reads:
        if changes_column(trigger.function, column):
            if after:
                yield (
                    f"{trigger} changes {column} after {after[0]} has read it: it must sort before."
                )
        elif (
            before
            and scope.phase != BACKFILL
            and column in legacy
            and names_column(trigger.function, column)
        ):
            yield (
                f"{trigger} reads {column} before {before[0]} has written it, which from the "
                "cutover on follows the new column: it must sort after, or read the new column."
            )


def of_legacy_columns(connection: Connection, scope: Scope) -> Item:
    """Triggers for updates of a legacy column, which nobody names once the new columns lead."""
    name = "triggers of legacy columns"
    problems = [
        f"{trigger} fires for UPDATE OF {column}, which nobody writes after the cutover: fire it "
        f"for every UPDATE, WHEN (OLD.{column} IS DISTINCT FROM NEW.{column})"
        for table in _tables(scope, CutOver)
        for trigger in _triggers(connection, table)
        for column in trigger.columns
        if column in scope.plan.legacy_of(table)
    ]
    if not problems:
        return Item(name, "pass", "No trigger fires only for updates of a legacy column.")
    return Item(
        name,
        "blocks",
        "; ".join(problems) + ".",
        "A BEFORE trigger with that condition must sort after those of the dual write.",
    )


def swallowing(connection: Connection, scope: Scope) -> Item:
    """BEFORE UPDATE triggers that can skip an update: a backfill would never finish."""
    name = "triggers that can swallow updates"
    names = [
        str(trigger)
        for table in dict.fromkeys(action.table for action in scope.passes)
        for trigger in _triggers(connection, table)
        if can_swallow(trigger)
    ]
    if not names:
        return Item(name, "pass", f"No trigger of {scope.tables} swallows updates.")
    return Item(
        name,
        "warns",
        f"{', '.join(names)} can skip an update with RETURN NULL or RETURN OLD.",
        "If it skips updates of the new columns alone, the backfill never finishes: let it pass "
        "these updates.",
    )


def swallowing_triggers(connection: Connection, table: Table) -> list[str]:
    """The names of the table's BEFORE UPDATE triggers that can skip an update."""
    return [trigger.name for trigger in _triggers(connection, table) if can_swallow(trigger)]


def can_swallow(trigger: _Trigger) -> bool:
    return (
        trigger.before_row
        and "update" in trigger.events
        and not trigger.columns
        and (
            trigger.function.language not in ("plpgsql", "internal")
            or bool(re.search(r"\breturn\s+(?:null|old)\b", trigger.function.text, re.IGNORECASE))
        )
    )


def changes_column(function: Function, column: str) -> bool:
    """Whether a trigger's function writes a column of its row, or the row as a whole."""
    name = re.escape(column)
    if function.language == "plpgsql":
        return bool(
            re.search(
                rf'{_STATEMENT}new\s*(?:\.\s*"?{name}"?\s*(?:\[[^;]*?\])?\s*)?:?='
                rf'|\binto\s+(?:strict\s+)?[^;]*?\bnew\s*\.\s*"?{name}\b',
                function.text,
                re.IGNORECASE,
            )
        )
    if function.language in ("internal", "c"):
        # Functions shipped with PostgreSQL write the column that is their first argument.
        return function.arguments[:1] == (column,)
    return names_column(function, column)


def _tables(scope: Scope, step: type[StartDualWrite] | type[CutOver]) -> list[Table]:
    """The tables of the phase's steps of a kind."""
    return [s.table for s in scope.plan.phases[scope.phase].steps if isinstance(s, step)]
