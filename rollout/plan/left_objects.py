"""What is bound to a legacy column and does not go along when a new one takes its name."""

import json

from psycopg import sql

from rollout.plan.constraints import AddCheck, AddUnique
from rollout.plan.conversions import Convert
from rollout.plan.hazards import Hazard
from rollout.plan.indexes import CreateIndex, DropIndex
from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.table import Table

# Unique indexes are another question: without a successor they block phase 0. What a partition has
# of its table's is told of the table alone.
_LEFT = """
SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM (
  SELECT pg_describe_object('pg_class'::regclass, x.indexrelid, 0) AS what
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    CROSS JOIN LATERAL (SELECT array_agg(DISTINCT a.attname::text) AS names FROM pg_depend AS d
      JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid
       AND d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid) AS needs
   WHERE x.indrelid IN ({relations}) AND NOT x.indisunique AND {legacy} = ANY (needs.names)
     AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.indexrelid)
     AND i.relname <> ALL ({dropped}::text[])
     AND NOT EXISTS (SELECT FROM jsonb_array_elements({successors}::jsonb) AS s (names)
       CROSS JOIN LATERAL (SELECT ARRAY(SELECT jsonb_array_elements_text(s.names))) AS new (names)
      WHERE new.names @> needs.names AND new.names <@ needs.names
        AND x.indpred IS NULL AND x.indexprs IS NULL)
  UNION ALL
  SELECT pg_describe_object('pg_constraint'::regclass, k.oid, 0) FROM pg_constraint AS k
    JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
   WHERE k.conrelid IN ({relations}) AND k.contype = 'c' AND k.coninhcount = 0
     AND a.attname = {legacy} AND NOT {is_checked}
  UNION ALL
  SELECT pg_describe_object('pg_statistic_ext'::regclass, s.oid, 0) FROM pg_statistic_ext AS s
    JOIN pg_attribute AS a ON a.attrelid = s.stxrelid AND a.attnum = ANY (s.stxkeys)
   WHERE s.stxrelid IN ({relations}) AND a.attname = {legacy}
) AS bound"""


def left_objects(plan: Plan, table: Table) -> tuple[Hazard, ...]:
    """Asked before a new column is added, and before it takes the name."""
    return tuple(_left(plan, t) for t in plan.keeping_names_of(table) if not t.carries)


def _left(plan: Plan, conversion: Convert) -> Hazard:
    table, (legacy,), (new,) = conversion.table, conversion.legacy, conversion.columns
    name, aside = f"{table.label}.{legacy}", conversion.names_after_cutover[legacy]
    steps = [step for phase in plan.phases for step in phase.steps]
    before = [step for phase in plan.phases[:CONTRACT] for step in phase.steps]
    successors = [
        [legacy if column == new else column for column in step.columns]
        for step in before
        if isinstance(step, CreateIndex | AddUnique) and step.table == table
    ]
    is_checked = any(
        isinstance(step, AddCheck) and step.table == table and new in step.needs for step in before
    )
    dropped = [s.name for s in steps if isinstance(s, DropIndex) and s.table == table]
    return Hazard(
        name=f"objects left with {name}",
        sql=sql.SQL(_LEFT).format(
            relations=table.relations,
            legacy=sql.Literal(legacy),
            dropped=sql.Literal(dropped),
            successors=sql.Literal(json.dumps(successors)),
            is_checked=sql.SQL("true" if is_checked else "false"),
        ),
        finding=(
            f"{{count}} objects are bound to the legacy column {name}, called {aside} from the "
            "cutover on: the new column of its name gets no such object."
        ),
        none=f"No index, CHECK or statistics object is left with the legacy column of {name}.",
        advice=(
            f"Build what is still needed over {new} in phase 3, before CutOver, by a CreateIndex "
            "or an AddCheck. What nobody needs any more goes with the legacy column in phase 4."
        ),
        blocks=False,
        stays=True,
    )
