"""Tries derived expressions as the triggers will evaluate them, on the rows that there are.

An expression that raises, or that says something else in another session, is found before any
trigger evaluates it in the application's writes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, sql

from rollout.engine.plain_words import in_plain_words
from rollout.engine.preflight.item import Item, Scope, oids_of, one_row, rows
from rollout.engine.quarantine import is_of_a_row
from rollout.engine.target import Connection, fetch_bool, own
from rollout.engine.value_decisions import undecided_values
from rollout.plan import facts
from rollout.plan.conversions import Conversion
from rollout.plan.names import SCHEMA, code
from rollout.plan.plan import CONTRACT, ENFORCE, Plan
from rollout.plan.resolvers import search_path
from rollout.plan.session_settings import OF_EXPRESSIONS
from rollout.plan.value_decisions import VALUE_DECISIONS, decisions_about, source_of

NAME = "expressions"
# Each is evaluated a few times: what a preflight waits for is seconds.
MAX_SAMPLED_ROWS = 100_000
COMPARED_ROWS = 20_000
_MOMENT = (
    "now|current_date|current_time|current_timestamp|localtime|localtimestamp|clock_timestamp|"
    "statement_timestamp|transaction_timestamp|timeofday|random|gen_random_uuid|uuidv4|uuidv7|"
    "nextval|current_setting|current_user|session_user|current_role|txid_current"
)
_OF_THE_MOMENT = re.compile(rf"(?<![\w.\"])({_MOMENT})(?![\w\"])", re.IGNORECASE)
_SUBQUERY = re.compile(r"\(\s*(select|with|table|values)\b", re.IGNORECASE)
_CALL = re.compile(r"(?:\"((?:[^\"]|\"\")+)\"|(\w+))\s*\(")
# Ends a trial with all that it set.
_BACK = sql.SQL("ROLLBACK TO trial")
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_SHORT_TEXT = re.compile(r"(?:character varying|character)\((\d+)\)")


@dataclass(frozen=True)
class _Session:
    """Another session than the triggers', and what to write so that it makes no difference."""

    differs_in: str
    settings: Mapping[str, str]
    advice: str


_ZONE = "Name the time zone, as in ({column} AT TIME ZONE 'Europe/Berlin')::date."
_SESSIONS = (
    # Between them the day differs at every hour.
    _Session("TimeZone", {"TimeZone": "Pacific/Kiritimati"}, _ZONE),
    _Session("TimeZone", {"TimeZone": "Etc/GMT+12"}, _ZONE),
    _Session("DateStyle", {"DateStyle": "SQL, DMY"}, "Use to_date() or to_char() with a format."),
    _Session("IntervalStyle", {"IntervalStyle": "sql_standard"}, "Use to_char() with a format."),
)


def expressions(connection: Connection, scope: Scope) -> Item:
    """Whether every value can be computed for the present rows, the same in any session."""
    conversions = [t for t in scope.plan.translations if isinstance(t, Conversion)]
    if not conversions or scope.phase == CONTRACT:
        return Item(NAME, "pass", "No later trigger evaluates an expression.")
    faults: list[tuple[str, str]] = []
    doubts: list[tuple[str, str]] = []
    tried = []
    connection.execute("SAVEPOINT trial")
    has_decisions = fetch_bool(connection, facts.relation_exists(VALUE_DECISIONS))
    trials = [
        _Trial(connection, scope.plan.name if has_decisions else None, t, c)
        for t in conversions
        if t.is_tried
        for c in t.added
    ]
    for trial in trials:
        label = f"{trial.conversion.table.label}.{trial.column}"
        if not trial.oids:
            tried.append(f"{label}: not tested, because the table does not exist yet")
            continue
        if fault := trial.fault():
            faults.append((f"{label}: {fault[0]}", fault[1]))
        else:
            doubts += [(f"{label}: {doubt}", advice) for doubt, advice in trial.doubts()]
            tried.append(f"{label}: {trial.outcome or trial.rows_tried}")
    if scope.phase == ENFORCE:
        faults += [fault for t in conversions for fault in _undecided(connection, scope.plan, t)]
    problems = faults or doubts
    if not problems:
        return Item(NAME, "pass", "; ".join(tried) or "No expression has to be tried.")
    return Item(
        NAME,
        "blocks" if faults else "warns",
        " ".join(text for text, _ in problems),
        " ".join(dict.fromkeys(advice for _, advice in problems)),
    )


def _undecided(
    connection: Connection, plan: Plan, conversion: Conversion
) -> Iterator[tuple[str, str]]:
    """Values that do not convert and wait for people, and what to do about them."""
    left = undecided_values(connection, plan, conversion) if conversion.asks_people else None
    if left is not None and left.rows:
        yield (
            f"{conversion.table.label}.{conversion.name}: nobody has decided about values that do "
            f"not convert, in {left.rows:,} row{'' if left.rows == 1 else 's'}, for example "
            f"{left.example}.",
            "Decide about each on the page of values that do not convert, or correct it.",
        )


class _Trial:
    """One expression, tried in a read-only transaction.

    Decisions of ``plan`` count; those of none before the target keeps any.
    """

    def __init__(
        self, connection: Connection, plan: str | None, conversion: Conversion, column: str
    ) -> None:
        self.connection, self.conversion, self.column = connection, conversion, column
        self.type = conversion.added[column].type
        self.outcome = ""
        self.oids = oids_of(connection, [conversion.table.label])
        (self.rows,) = one_row(
            connection,
            "SELECT coalesce(sum(CASE WHEN reltuples < 0 THEN pg_relation_size(oid) / 8192 * 100"
            " ELSE reltuples END), 0)::bigint FROM pg_class"
            " WHERE oid = ANY (%(oids)s::oid[]) AND relkind = 'r'",
            oids=self.oids,
        )
        self.decided = self._decided(plan)

    def _decided(self, plan: str | None) -> sql.Composable | None:
        """Leave out the rows about whose values people have decided: they need not convert."""
        if plan is None or not self.conversion.asks_people:
            return None
        return sql.SQL(" WHERE {} NOT IN (SELECT d.source FROM {} AS d WHERE {})").format(
            source_of(self.conversion, "new"),
            VALUE_DECISIONS,
            decisions_about(self.conversion, plan, "d"),
        )

    @property
    def rows_tried(self) -> str:
        of = "" if self.decided is None else " without a decision"
        if self._share(MAX_SAMPLED_ROWS) is not None:
            of += f" in a sample of about {MAX_SAMPLED_ROWS:,}"
        return f"no row{of} raises an error"

    def _share(self, most: int) -> float | None:
        """Percentage of pages that hold about this many rows; None for all."""
        return None if self.rows <= most else 100 * most / self.rows

    def _query(self, select: sql.Composable, most: int) -> sql.Composed:
        """A query over values, called ``v``, of the table's rows or of a sample of them."""
        share = self._share(most)
        return sql.SQL("SELECT {} FROM (SELECT {} AS v FROM {} AS new{}{}) AS tried").format(
            select,
            self.conversion.values("new")[self.column],
            self.conversion.table.identifier,
            sql.SQL("")
            if share is None
            else sql.SQL(" TABLESAMPLE SYSTEM ({}) REPEATABLE (0)").format(sql.Literal(share)),
            self.decided or sql.SQL(""),
        )

    def fault(self) -> tuple[str, str] | None:
        """Why no trigger may evaluate it, and what to do."""
        of_type = sql.SQL("count(CAST(v AS {}))").format(code(self.type))
        if length := _SHORT_TEXT.fullmatch(self.type):
            of_type = sql.SQL("{}, coalesce(max(length(v::text)), 0)").format(of_type)
        try:
            row = self._row(self._query(of_type, MAX_SAMPLED_ROWS))
        except errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            if not self._is_expected(error):
                return self._why(error)
            reason = in_plain_words(error.diag.message_primary or "")
            self.outcome = f"some row does not convert ({reason})"
            return self._of_the_moment()
        if length and row and row[1] > int(length[1]) and not self._may_fail:
            return (
                f"a value has {row[1]:,} characters, but {self.type} takes {length[1]}.",
                "Shorten it in the expression, or give the column a longer type.",
            )
        return self._of_the_moment() or self._of_the_session() or self._of_the_way_back()

    @property
    def _may_fail(self) -> bool:
        """Whether the plan says what becomes of rows that do not convert."""
        return bool(self.conversion.drops) and not self.conversion.refuses

    def _is_expected(self, error: psycopg.Error) -> bool:
        return self._may_fail and is_of_a_row(error)

    def _of_the_way_back(self) -> tuple[str, str] | None:
        """Rows whose value the way back would tell as another one."""
        if not self.conversion.ways_back:
            return None
        values = self.conversion.values("new")
        legacy = self.conversion.legacy_values("new", instead=values)
        value = values[self.column]
        again = self.conversion.values("new", instead=legacy)[self.column]
        query = sql.SQL(
            "SELECT count(*) FROM (SELECT {} AS v, {} AS again FROM {} AS new{} LIMIT {})"
            " AS tried WHERE v IS NOT NULL AND again IS DISTINCT FROM v"
        ).format(
            *(value, again, self.conversion.table.identifier, self.decided or sql.SQL("")),
            sql.Literal(COMPARED_ROWS),
        )
        name = "backward=" if self.conversion.drops else "back="
        advice = f"Correct {name}: its result must give the new value again."
        try:
            row = self._row(query)
        except errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            return f"the reverse expression raises an error: {error.diag.message_primary}.", advice
        if row and row[0]:
            return f"the reverse expression gives another value for {row[0]:,} rows.", advice
        return None

    def _why(self, error: psycopg.Error) -> tuple[str, str]:
        message = error.diag.message_primary or str(error).strip()
        if isinstance(error, errors.UndefinedFunction | errors.UndefinedObject):
            return (
                f"{message}. Triggers resolve names only in pg_catalog and {self._schema}.",
                "Qualify the name with its schema, as in tools.plain(…).",
            )
        if isinstance(error, errors.SyntaxErrorOrAccessRuleViolation | errors.FeatureNotSupported):
            return f"PostgreSQL rejects the expression: {message}.", "Correct the expression."
        return (
            f"the expression raises an error for an existing row: {message}.",
            "Guard it, as in CASE WHEN {column} ~ '^[0-9]+$' THEN {column}::integer END.",
        )

    @property
    def _schema(self) -> str:
        return self.conversion.table.schema

    def _of_the_moment(self) -> tuple[str, str] | None:
        if word := _OF_THE_MOMENT.search(self._code):
            return (
                f"{word[1]} is not constant: it changes with the time or the session.",
                "Use only columns of the row.",
            )
        return None

    @property
    def _code(self) -> str:
        """The expression without its literals and without the columns that it names."""
        bare = re.sub(
            r"\{[^{}]*\}",
            "",
            self.conversion.expressions[self.column].replace("{{", "").replace("}}", ""),
        )
        return _LITERAL.sub("''", bare)

    def _of_the_session(self) -> tuple[str, str] | None:
        """Settings of a session that make a difference to the value of a row that is there.

        All are compared in one snapshot, as the application keeps writing.
        """
        pinned = self._print({})
        for session in _SESSIONS:
            if self._print(session.settings) != pinned:
                return (
                    f"the value depends on the {session.differs_in} of the writing session.",
                    session.advice,
                )
        if self._print({}, in_a_trigger=False) != pinned:
            return (
                "the expression resolves to other functions or types on the console's search_path "
                "than on that of the triggers.",
                "Qualify each name with its schema, as in tools.plain(…).",
            )
        return None

    def _print(self, settings: Mapping[str, str], *, in_a_trigger: bool = True) -> object:
        """A fingerprint of the values in such a session; the error's where it raises."""
        # As they are sent: their texts differ with the settings, even where values do not.
        select = sql.SQL(
            "pg_catalog.sum(pg_catalog.hashtextextended("
            "pg_catalog.encode(pg_catalog.record_send(ROW(CAST(v AS {}))), 'hex'), 0)::numeric)"
        ).format(code(self.type))
        try:
            row = self._row(self._query(select, COMPARED_ROWS), settings, path=in_a_trigger)
            return row and row[0]
        except errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            return error.sqlstate

    def _row(
        self,
        query: sql.Composable,
        settings: Mapping[str, str] | None = None,
        *,
        path: bool = True,
    ) -> tuple[Any, ...] | None:
        """The row of a query in a session with a trigger's settings, save for a few.

        In one message: most expressions are tried sooner than a message travels.
        """
        values = {**OF_EXPRESSIONS, **(settings or {})}
        if path:
            values["search_path"] = search_path(self._schema).as_string(self.connection)
        message = sql.SQL("SELECT {}; {}; {}").format(
            sql.SQL(", ").join(
                sql.SQL("set_config({}, {}, true)").format(sql.Literal(name), sql.Literal(value))
                for name, value in values.items()
            ),
            own(query),
            _BACK,
        )
        try:
            cursor = self.connection.execute(message, prepare=False)
        except psycopg.Error:
            if not self.connection.broken:
                self.connection.execute(_BACK)
            raise
        cursor.nextset()
        return cursor.fetchone()

    def doubts(self) -> Iterator[tuple[str, str]]:
        """What the expression reads that is none of the row, and that no trigger follows; and rows
        that people have to correct."""
        if self.outcome and not self.conversion.leaves_empty:
            yield (
                f"{self.outcome}.",
                "Decide what becomes of such values, or correct them: phase 2 ends “Failed” at its "
                "audit while any is left."
                if self.conversion.asks_people
                else "Correct such values, or say in the plan what becomes of them: phase 2 ends "
                "“Failed” at its audit while any is left.",
            )
        if _SUBQUERY.search(self._code):
            yield (
                "the expression reads other rows in a subquery; later changes there are not "
                "followed.",
                "Make sure that they do not change until the rollout is done.",
            )
        names = [
            quoted.replace('""', '"') or plain.lower()
            for quoted, plain in _CALL.findall(self._code)
        ]
        called = rows(
            self.connection,
            "SELECT p.oid::regprocedure::text FROM pg_proc AS p"
            " JOIN pg_namespace AS n ON n.oid = p.pronamespace"
            " WHERE p.proname = ANY (%(names)s) AND p.provolatile <> 'i'"
            " AND n.nspname <> ALL (ARRAY['pg_catalog', 'information_schema', %(own)s])"
            " ORDER BY 1 LIMIT 5",
            names=names,
            own=SCHEMA,
        )
        if called:
            yield (
                f"{', '.join(name for (name,) in called)} is not declared IMMUTABLE.",
                "Make sure that the result depends only on the arguments, then declare it "
                "IMMUTABLE.",
            )
