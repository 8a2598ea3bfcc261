"""The rollout of the property schema: free-text type and status become lookup tables."""

from datetime import timedelta
from pathlib import Path

from django.conf import settings

from rollout import plan as r

PROPERTIES = r.Table(
    name="properties",
    key=("id",),
    columns={
        "id": r.Column("uuid", null=False),
        "title": r.Column("text", null=False),
        "description": r.Column("text", null=False),
        "address": r.Column("text", null=False),
        "city": r.Column("text", null=False),
        "price": r.Column("numeric(12,2)"),
        "type": r.Column("text"),
        "status": r.Column("text"),
        "created_at": r.Column("timestamp with time zone", null=False),
    },
)
IMAGES = r.Table(
    name="property_images",
    key=("id",),
    columns={
        "id": r.Column("uuid", null=False),
        "property_id": r.Column("uuid", null=False),
        "url": r.Column("text", null=False),
    },
)

TYPE = r.Lookup(
    table=PROPERTIES,
    legacy="type",
    column="property_type_id",
    lookup_table="property_types",
    key="integer",
)
STATUS = r.Lookup(
    table=PROPERTIES,
    legacy="status",
    column="property_status_id",
    lookup_table="property_statuses",
    key="integer",
)

STATE = r.normal_form("status")
LISTED = f"coalesce({STATE} IN ('for sale', 'active', 'coming soon'), false)"
# The application writes these columns too, with the values of their expressions.
CURRENCY = r.Derived(
    table=PROPERTIES,
    column="currency",
    type="character varying(3)",
    expression="'USD'",
    writable=True,
)
IS_LISTED = r.Derived(
    table=PROPERTIES, column="is_listed", type="boolean", expression=LISTED, writable=True
)
PUBLISHED_AT = r.Derived(
    table=PROPERTIES,
    column="published_at",
    type="timestamp with time zone",
    expression=f"CASE WHEN {LISTED} THEN {{created_at}} END",
    required=False,
    writable=True,
)

IMAGE_METADATA = r.Computed(
    table=IMAGES,
    columns={
        "storage_key": r.Column("text"),
        "checksum": r.Column("text"),
        "width": r.Column("integer"),
        "height": r.Column("integer"),
    },
    reads=("url",),
    function="properties.images.facts_of_stored",
)

# A row without a city counts all of them.
COUNTS = """
  SELECT t.name AS type, s.name AS status, p.city, count(*) AS listings
    FROM properties AS p
    JOIN property_types AS t ON t.id = p.property_type_id
    JOIN property_statuses AS s ON s.id = p.property_status_id
   GROUP BY GROUPING SETS ((t.name, s.name, p.city), (t.name, s.name))"""


# The flows of the application that every phase must leave working.
SMOKE_TESTS = tuple(
    r.ProbeFlow(
        id=f"probe-{flow.replace('_', '-')}",
        description=f"Smoke test: {text}",
        flow=f"properties.flows.{flow}",
    )
    for flow, text in (
        ("create_property", "create property"),
        ("upload_image", "upload image"),
        ("search", "search"),
        ("decided_text", "write a remapped value"),
    )
)

SOAK: timedelta = settings.PROPERTIES_SOAK

# The application now, compared with before; left out where the soak is 0.
APPLICATION_HEALTHY: tuple[r.Gate, ...] = (r.Soak(SOAK), r.InBounds()) if SOAK else ()
# One rehearsal before phase 1 serves all of these, as long as the plan does not change.
REHEARSED: tuple[r.Gate, ...] = (r.RehearsalPassed(),) if settings.PROPERTIES_REHEARSED else ()
REHEARSED_ITEMS: tuple[r.Item, ...] = (
    (r.EnvironmentIntrospected(), r.BackfillRehearsed()) if settings.PROPERTIES_REHEARSED else ()
)
# The application's users type new values at any time: people look at those daily, no start waits.
NEW_VALUES_MAY_WAIT = timedelta(days=1)
ENFORCE_GATES: tuple[r.Gate, ...] = (
    *(r.BackfillComplete(), r.AuditClean(), r.SnapshotVerified(), r.ProbesPassed()),
    *REHEARSED,
    *APPLICATION_HEALTHY,
    r.NoDrift(),
)

CHECKLIST = (
    r.StepsDescribed(),
    r.FlowsTested(),
    r.TypesMatch(file=str(Path(__file__).with_name("types.ts"))),
    *REHEARSED_ITEMS,
    r.Item(
        id="rollback-scripts",
        text="Rollback scripts exported",
        help="Store them outside the console. In a shell: manage.py rollout sql "
        "property-classification PHASE --rollback.",
        rollback_scripts=True,
    ),
    r.Item(
        id="writers-known",
        text="All teams writing to these tables notified",
        help="Include nightly imports and people who use psql.",
    ),
)

PREPARE = r.Phase(
    description="Verify the live schema and run smoke tests.",
    estimate=timedelta(seconds=10),
    steps=(
        r.CompareSchemaStep(
            id="compare-schema", description="Compare the live schema with the plan"
        ),
        *SMOKE_TESTS,
    ),
)

EXPAND = r.Phase(
    description="Add lookup tables and nullable columns. No application change.",
    estimate=timedelta(seconds=10),
    gates=(r.NoDrift(), r.ChecklistComplete()),
    steps=(
        r.CreateLookupTable(
            id="create-types", description="Create lookup table: property_types", lookup=TYPE
        ),
        r.CreateLookupTable(
            id="create-statuses",
            description="Create lookup table: property_statuses",
            lookup=STATUS,
        ),
        r.AddColumns(
            id="add-property-columns",
            description="Add nullable columns to properties",
            table=PROPERTIES,
            of=(TYPE, STATUS, CURRENCY, PUBLISHED_AT, IS_LISTED),
        ),
        r.AddColumns(
            id="add-image-columns",
            description="Add nullable columns to property_images",
            table=IMAGES,
            of=(IMAGE_METADATA,),
        ),
        *SMOKE_TESTS,
    ),
)

BACKFILL = r.Phase(
    description="Enable dual write and backfill existing rows.",
    estimate=timedelta(minutes=5),
    gates=(r.NoDrift(),),
    steps=(
        r.MapLegacyValues(
            id="map-values",
            description="Build lookup rows and value mapping",
            table=PROPERTIES,
        ),
        r.StartDualWrite(
            id="dual-write",
            description="Install dual-write triggers",
            table=PROPERTIES,
        ),
        r.StartDualWrite(
            id="watch-images",
            description="Install trigger to clear image metadata when the file changes",
            table=IMAGES,
        ),
        r.WriteBoth(id="write-both", description="Switch application to dual write"),
        r.Backfill(id="backfill", description="Backfill existing rows", table=PROPERTIES),
        r.Backfill(
            id="backfill-images",
            description="Backfill image checksums and sizes",
            table=IMAGES,
        ),
        *SMOKE_TESTS,
        r.FullAudit(id="audit", description="Full audit"),
    ),
)

ENFORCE = r.Phase(
    description="Enforce constraints, build search indexes, and cut over reads and writes.",
    estimate=timedelta(minutes=2),
    gates=(*ENFORCE_GATES, r.MappingReviewed(grace=NEW_VALUES_MAY_WAIT), r.Approved()),
    steps=(
        r.AddForeignKey(id="type-foreign-key", description="Add foreign key: type", lookup=TYPE),
        r.AddForeignKey(
            id="status-foreign-key",
            description="Add foreign key: status",
            lookup=STATUS,
        ),
        r.RequireValues(
            id="require-values",
            description="Set NOT NULL: type, status, currency, is_listed",
            table=PROPERTIES,
            columns=("property_type_id", "property_status_id", "currency", "is_listed"),
        ),
        # A search for what few listings have needs them from its first read on.
        r.CreateIndex(
            id="index-type",
            description="Create index on (property_type_id, property_status_id)",
            table=PROPERTIES,
            name="properties_type_id_idx",
            columns=("property_type_id", "property_status_id"),
        ),
        r.CreateIndex(
            id="index-status",
            description="Create index on (property_status_id)",
            table=PROPERTIES,
            name="properties_status_id_idx",
            columns=("property_status_id",),
        ),
        r.CutOver(
            id="cut-over",
            description="Cut over; keep legacy columns in sync via triggers",
            table=PROPERTIES,
        ),
        *SMOKE_TESTS,
        r.FullAudit(id="audit", description="Full audit"),
    ),
)

CONTRACT = r.Phase(
    description="Archive and drop legacy columns; build search counts.",
    estimate=timedelta(minutes=3),
    gates=(
        *ENFORCE_GATES,
        r.NoLegacyReaders(application="properties", oldest="0.1"),
        r.Approved(),
    ),
    steps=(
        r.FreezeLegacy(
            id="freeze-legacy",
            description="Reject legacy-only writes",
            table=PROPERTIES,
        ),
        r.ArchiveLegacy(
            id="archive-legacy",
            description="Archive legacy values",
            table=PROPERTIES,
        ),
        r.DropIndex(
            id="drop-legacy-status-index",
            description="Drop index on (status)",
            table=PROPERTIES,
            name="properties_status_idx",
            columns=("status",),
        ),
        r.DropIndex(
            id="drop-legacy-index",
            description="Drop index on (type, status)",
            table=PROPERTIES,
            name="properties_type_status_idx",
            columns=("type", "status"),
        ),
        r.DropLegacy(
            id="drop-legacy",
            description="Drop legacy columns and dual-write triggers",
            table=PROPERTIES,
        ),
        r.StopDualWrite(id="stop-watching-images", description="Drop image trigger", table=IMAGES),
        r.CreateMaterializedView(
            id="listing-counts",
            description="Create materialized view of search counts",
            name="property_listing_counts",
            query=COUNTS,
            key=("city", "type", "status"),
            refresh_every=timedelta(minutes=1),
        ),
        r.UseFeature(
            id="use-listing-counts",
            description="Enable search counts",
            feature="listing_counts",
        ),
        *SMOKE_TESTS,
    ),
)

PLAN = r.register(
    r.Plan(
        name="property-classification",
        title="Property classification",
        description=(
            "Replaces free-text type and status of properties with foreign keys to lookup tables."
        ),
        tables=(PROPERTIES, IMAGES),
        translations=(TYPE, STATUS, CURRENCY, IS_LISTED, PUBLISHED_AT, IMAGE_METADATA),
        phases=(PREPARE, EXPAND, BACKFILL, ENFORCE, CONTRACT),
        checklist=CHECKLIST,
        sample_every=timedelta(minutes=15),
        traffic="properties.rehearsal.traffic",
    )
)
