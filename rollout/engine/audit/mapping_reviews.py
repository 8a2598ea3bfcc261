"""How much of a lookup's mapping people have reviewed."""

from datetime import datetime

from psycopg import sql

from rollout.engine.target import Connection, fetch_bool
from rollout.plan import facts
from rollout.plan.mapping import DECISIONS, decisions_of
from rollout.plan.names import in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

_NONE = sql.SQL(
    "(SELECT NULL::text AS plan, NULL::text AS table_label, NULL::text AS legacy_column,"
    " NULL::text AS normal, NULL::timestamptz AS at WHERE false)"
)


def reviewed_of(
    connection: Connection, plan: Plan, lookup: Lookup
) -> tuple[int, int, datetime | None]:
    """The values of a mapping by normal form, those that people decided on, and when they did last.

    Blank texts are no values: nobody has to decide on them.
    """
    decisions: sql.Composable = DECISIONS
    if not fetch_bool(connection, facts.relation_exists(DECISIONS)):
        decisions = _NONE
    row = connection.execute(
        sql.SQL(
            "SELECT count(*), count(d.normal), max(d.at)"
            " FROM (SELECT DISTINCT {form} AS normal FROM {mapping} AS m) AS v"
            " LEFT JOIN {decisions} AS d ON d.normal = v.normal AND {ours}"
            " WHERE v.normal <> ''"
        ).format(
            form=normal(sql.Identifier("m", "legacy")),
            mapping=in_target(lookup.mapping_name(plan.name)),
            decisions=decisions,
            ours=decisions_of(lookup, plan.name, "d"),
        )
    ).fetchone()
    assert row is not None
    return row
