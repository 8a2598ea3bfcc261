"""The plans that are measured: the property plan's own translations, once for each type of key, and
a key that is widened."""

from bench import partitions, tickets
from rollout import plan as r

KEYS = {"uuid": "uuid", "bigint": "bigint"}
"""What a key is called here, and its type in PostgreSQL."""

STATE = r.normal_form("status")
LISTED = f"coalesce({STATE} IN ('for sale', 'active', 'coming soon'), false)"


def listings(key_type: str) -> r.Table:
    return r.Table(
        name="listings",
        key=("id",),
        columns={
            "id": r.Column(key_type, null=False),
            "type": r.Column("text"),
            "status": r.Column("text"),
            "created_at": r.Column("timestamp with time zone", null=False),
        },
    )


def plan_for(key: str) -> r.Plan:
    """Phases 0 to 2, the backfill among them; the rest has no part in the benchmark."""
    table = listings(KEYS[key])
    type_ = r.Lookup(table=table, legacy="type", column="type_id", lookup_table="listing_types")
    status = r.Lookup(
        table=table, legacy="status", column="status_id", lookup_table="listing_statuses"
    )
    translations = (
        type_,
        status,
        r.Derived(table=table, column="currency", type="character varying(3)", expression="'USD'"),
        r.Derived(table=table, column="is_listed", type="boolean", expression=LISTED),
        r.Derived(
            table=table,
            column="published_at",
            type="timestamp with time zone",
            expression=f"CASE WHEN {LISTED} THEN {{created_at}} END",
            required=False,
        ),
    )
    prepare = r.Phase(
        steps=(r.CompareSchemaStep(id="compare-schema", description="Compare with the plan"),)
    )
    expand = r.Phase(
        steps=(
            r.CreateLookupTable(id="types", description="Create the types", lookup=type_),
            r.CreateLookupTable(id="statuses", description="Create the statuses", lookup=status),
            r.AddColumns(id="columns", description="Add the columns", table=table, of=translations),
        )
    )
    backfill = r.Phase(
        steps=(
            r.MapLegacyValues(id="map-values", description="Map the legacy values", table=table),
            r.StartDualWrite(id="dual-write", description="Start the dual write", table=table),
            r.WriteBoth(id="write-both", description="Write both shapes"),
            r.Backfill(id="backfill", description="Fill every row in", table=table),
            r.FullAudit(id="audit", description="Compare every row"),
        )
    )
    return r.Plan(
        name=f"bench-{key}",
        title=f"Benchmark, {key} key",
        description="Free text of listings becomes foreign keys, and the time is taken.",
        tables=(table,),
        translations=translations,
        phases=(prepare, expand, backfill, r.Phase(steps=()), r.Phase(steps=())),
    )


PLANS = {key: r.register(plan_for(key)) for key in KEYS}
r.register(tickets.plan())
r.register(partitions.plan())
