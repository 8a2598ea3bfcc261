"""How the application learns which lookup row a text means, by what people decided about it."""

from django.db import connections
from psycopg import errors, sql

from rollout.plan.errors import RolloutError
from rollout.plan.mapping import DECISIONS, decisions_of
from rollout.plan.names import escaped, in_target
from rollout.plan.registry import plans
from rollout.plan.resolvers import resolver_name
from rollout.plan.translations import Lookup


class UnknownLookup(RolloutError, LookupError):
    """The plan has no lookup of that column."""


class NotMapped(RolloutError):
    """Nothing says yet what texts mean: the plan's phase 2 has not mapped them, or is rolled back.

    ``current_modes`` says when to ask: not while its write mode is legacy.
    """


def lookup_id(plan: str, column: str, text: str | None, *, using: str = "default") -> int | None:
    """The id of the lookup row that a text means; None where it means no row.

    ``column`` is the legacy column, as ``"properties.type"`` or ``"schema.table.column"``. A text
    that nobody has written before gets its row where the plan allows one, in the caller's own
    transaction; write it there, or roll back. A second transaction that brings the same new text
    waits until this one ends.

    Raises UnknownPlan, UnknownLookup and NotMapped.
    """
    return _ask(plan, column, text, make=True, using=using)


def known_lookup_id(
    plan: str, column: str, text: str | None, *, using: str = "default"
) -> int | None:
    """As ``lookup_id``, for a search: nothing is written, and a text without a row has None."""
    return _ask(plan, column, text, make=False, using=using)


def resolver_sql(plan: str, column: str) -> sql.Identifier:
    """The SQL function behind both: ``(value text, make boolean DEFAULT true,
    wait boolean DEFAULT true) RETURNS integer``.

    Its name for psycopg, to be called in statements over many rows. Raises UnknownPlan and
    UnknownLookup.
    """
    return in_target(resolver_name(_lookup(plan, column), plan))


def decided_meanings(plan: str, column: str, *, using: str = "default") -> dict[str, str | None]:
    """What people decided, for a smoke test: the name of a lookup row, or None for no value.

    By the normal form of the text. It reads the engine's own tables, so it is the console's role
    that asks. Raises UnknownPlan and UnknownLookup.
    """
    lookup = _lookup(plan, column)
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [DECISIONS.as_string()])
        if cursor.fetchone() != (True,):
            return {}
        cursor.execute(
            sql.SQL("SELECT d.normal, d.name FROM {} AS d WHERE {}").format(
                DECISIONS, decisions_of(lookup, plan, "d")
            )
        )
        return dict(cursor.fetchall())


def _lookup(plan: str, column: str) -> Lookup:
    for lookup in plans.get(plan).lookups:
        if f"{lookup.table.label}.{lookup.legacy}" == column:
            return lookup
    known = ", ".join(f"{t.table.label}.{t.legacy}" for t in plans.get(plan).lookups)
    raise UnknownLookup(f"The plan '{plan}' has no lookup of {column}. It has: {known or 'none'}.")


def _ask(plan: str, column: str, text: str | None, *, make: bool, using: str) -> int | None:
    statement = sql.SQL("SELECT {} (%s, %s)").format(resolver_sql(plan, column))
    with connections[using].cursor() as cursor:
        try:
            cursor.execute(escaped(statement), [text, make])
        except Exception as error:
            if isinstance(error.__cause__, errors.UndefinedFunction | errors.InvalidSchemaName):
                raise NotMapped(
                    f"What {column} means is not mapped yet. Write the text alone until the plan's "
                    f"write mode is 'both': phase 2 of '{plan}' maps it."
                ) from error
            raise
        row = cursor.fetchone()
    assert row is not None
    id_: int | None = row[0]
    return id_
