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
# The application writes of these columns what their expressions say.
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

COUNTS = """
  SELECT t.name AS type, s.name AS status, p.city, count(*) AS listings
    FROM properties AS p
    JOIN property_types AS t ON t.id = p.property_type_id
    JOIN property_statuses AS s ON s.id = p.property_status_id
   GROUP BY t.name, s.name, p.city"""


def flows(moment: str) -> tuple[r.Step, ...]:
    """The flows that matter, tried out.

    A property is created, an image uploaded, a search made, a text written that people decided on.
    """
    return tuple(
        r.ProbeFlow(
            id=f"probe-{name.replace('_', '-')}",
            description=f"{text} works {moment}",
            flow=f"properties.flows.{name}",
        )
        for name, text in (
            ("create_property", "Creating a property"),
            ("upload_image", "Uploading an image"),
            ("search", "Searching"),
            ("decided_text", "Writing a text that people decided on"),
        )
    )


SOAK: timedelta = settings.PROPERTIES_SOAK

# What the application does now, against what it did: left out where no time is to pass.
APPLICATION_HEALTHY: tuple[r.Gate, ...] = (r.Soak(SOAK), r.InBounds()) if SOAK else ()
# One rehearsal before phase 1 is enough for all of these, as long as the plan stays as it is.
REHEARSED: tuple[r.Gate, ...] = (r.RehearsalPassed(),) if settings.PROPERTIES_REHEARSED else ()
REHEARSED_ITEMS: tuple[r.Item, ...] = (
    (r.EnvironmentIntrospected(), r.BackfillRehearsed()) if settings.PROPERTIES_REHEARSED else ()
)
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
        text="The rollback scripts are printed and at hand",
        help="Keep them where the console is not. In a shell: manage.py rollout sql "
        "property-classification PHASE --rollback.",
        rollback_scripts=True,
    ),
    r.Item(
        id="writers-known",
        text="Everyone whose code writes to these tables knows what is coming",
        help="Nightly imports and people with psql too.",
    ),
)

PREPARE = r.Phase(
    description="The live schema is what the plan expects, and the flows that matter work.",
    estimate=timedelta(seconds=10),
    steps=(
        r.CompareSchemaStep(
            id="compare-schema", description="Compare the live tables with the plan"
        ),
        *flows("before anything changes"),
    ),
)

EXPAND = r.Phase(
    description="Lookup tables and nullable columns are added; the application goes on as it was.",
    estimate=timedelta(seconds=10),
    gates=(r.NoDrift(), r.ChecklistComplete()),
    steps=(
        r.CreateLookupTable(
            id="create-types", description="Create the table of property types", lookup=TYPE
        ),
        r.CreateLookupTable(
            id="create-statuses", description="Create the table of property statuses", lookup=STATUS
        ),
        r.AddColumns(
            id="add-property-columns",
            description="Add the new columns of properties, nullable",
            table=PROPERTIES,
            of=(TYPE, STATUS, CURRENCY, PUBLISHED_AT, IS_LISTED),
        ),
        r.AddColumns(
            id="add-image-columns",
            description="Add the new columns of images, nullable",
            table=IMAGES,
            of=(IMAGE_METADATA,),
        ),
        *flows("with the new columns there"),
    ),
)

BACKFILL = r.Phase(
    description="New rows are written in both shapes; every row that was there is filled in.",
    estimate=timedelta(minutes=5),
    gates=(r.NoDrift(),),
    steps=(
        r.MapLegacyValues(
            id="map-values",
            description="Make lookup rows and the mapping from the distinct legacy values",
            table=PROPERTIES,
        ),
        r.StartDualWrite(
            id="dual-write",
            description="Let triggers fill the new columns of every row written from now on",
            table=PROPERTIES,
        ),
        r.StartDualWrite(
            id="watch-images",
            description="Let a trigger empty the facts of an image whose file is another now",
            table=IMAGES,
        ),
        r.WriteBoth(id="write-both", description="Let the application write both shapes"),
        r.Backfill(
            id="backfill", description="Fill in the rows that were there before", table=PROPERTIES
        ),
        r.Backfill(
            id="backfill-images",
            description="Compute checksum and size of the images that were there before",
            table=IMAGES,
        ),
        *flows("in both shapes"),
        r.FullAudit(id="audit", description="Compare old and new values of every row"),
    ),
)

ENFORCE = r.Phase(
    description="The database enforces the new shape, and the application reads and writes it.",
    estimate=timedelta(minutes=2),
    gates=(*ENFORCE_GATES, r.Approved()),
    steps=(
        r.AddForeignKey(
            id="type-foreign-key", description="Enforce that a property's type exists", lookup=TYPE
        ),
        r.AddForeignKey(
            id="status-foreign-key",
            description="Enforce that a property's status exists",
            lookup=STATUS,
        ),
        r.RequireValues(
            id="require-values",
            description="Enforce that every property has type, status, currency and listing state",
            table=PROPERTIES,
            columns=("property_type_id", "property_status_id", "currency", "is_listed"),
        ),
        r.CutOver(
            id="cut-over",
            description="Read and write the new columns; triggers keep the legacy text in step",
            table=PROPERTIES,
        ),
        *flows("after the cutover"),
        r.FullAudit(id="audit", description="Compare old and new values of every row"),
    ),
)

CONTRACT = r.Phase(
    description="The legacy columns are archived and removed; search gets indexes and counts.",
    estimate=timedelta(minutes=3),
    gates=(
        *ENFORCE_GATES,
        r.NoLegacyReaders(application="properties", oldest="0.1"),
        r.Approved(),
    ),
    steps=(
        r.FreezeLegacy(
            id="freeze-legacy",
            description="Refuse writes that change only the legacy text",
            table=PROPERTIES,
        ),
        r.ArchiveLegacy(
            id="archive-legacy",
            description="Keep the exact legacy text of every row",
            table=PROPERTIES,
        ),
        r.DropIndex(
            id="drop-legacy-index",
            description="Drop the index of the legacy columns",
            table=PROPERTIES,
            name="properties_type_status_idx",
            columns=("type", "status"),
        ),
        r.DropLegacy(
            id="drop-legacy",
            description="Drop the legacy columns and the triggers",
            table=PROPERTIES,
        ),
        r.StopDualWrite(
            id="stop-watching-images", description="Drop the trigger of images", table=IMAGES
        ),
        r.CreateIndex(
            id="index-type",
            description="Build the index of properties by type and status",
            table=PROPERTIES,
            name="properties_type_id_idx",
            columns=("property_type_id", "property_status_id"),
        ),
        r.CreateIndex(
            id="index-status",
            description="Build the index of properties by status",
            table=PROPERTIES,
            name="properties_status_id_idx",
            columns=("property_status_id",),
        ),
        r.CreateMaterializedView(
            id="listing-counts",
            description="Count listings by type, status and city for the search page",
            name="property_listing_counts",
            query=COUNTS,
            key=("type", "status", "city"),
            refresh_every=timedelta(minutes=1),
        ),
        r.UseFeature(
            id="use-listing-counts",
            description="Let the search page read the counts",
            feature="listing_counts",
        ),
        *flows("in the new shape alone"),
    ),
)

PLAN = r.register(
    r.Plan(
        name="property-classification",
        title="Property classification",
        description=(
            "The free-text type and status of a property become foreign keys to lookup tables."
        ),
        tables=(PROPERTIES, IMAGES),
        translations=(TYPE, STATUS, CURRENCY, IS_LISTED, PUBLISHED_AT, IMAGE_METADATA),
        phases=(PREPARE, EXPAND, BACKFILL, ENFORCE, CONTRACT),
        checklist=CHECKLIST,
        sample_every=timedelta(minutes=15),
        traffic="properties.rehearsal.traffic",
    )
)
