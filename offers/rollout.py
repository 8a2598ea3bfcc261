"""The rollout of the offers' prices: texts that buyers typed become whole cents, under one name."""

from datetime import timedelta

from offers.book import PLAN as NAME
from rollout import plan as r

OFFERS = r.Table(
    name="offers",
    key=("id",),
    columns={"id": r.Column("bigint", null=False), "price": r.Column("text")},
)
PRICE = r.Convert(
    table=OFFERS,
    legacy=("price",),
    columns={"price_cents": r.Column("bigint")},
    # Nothing is left of a blank text, which is no price either.
    forward={"price_cents": "round(nullif(trim(translate({price}, '$,', '')), '')::numeric * 100)"},
    backward={"price": "to_char({price_cents} / 100.0, 'FM99999999999999990.00')"},
    required=False,
    keeps_name=True,
)
SMOKE_TEST = r.ProbeFlow(
    id="probe-make-offer",
    description="Smoke test: make an offer",
    flow="offers.flows.make_offer",
)

PREPARE = r.Phase(
    description="Verify the live schema and run the smoke test.",
    estimate=timedelta(seconds=10),
    steps=(
        r.CompareSchemaStep(
            id="compare-schema", description="Compare the live schema with the plan"
        ),
        SMOKE_TEST,
    ),
)
EXPAND = r.Phase(
    description="Add a column for the cents. No application change.",
    estimate=timedelta(seconds=10),
    gates=(r.NoDrift(),),
    steps=(
        r.AddColumns(
            id="add-cents",
            description="Add nullable column: price_cents",
            table=OFFERS,
            of=(PRICE,),
        ),
        SMOKE_TEST,
    ),
)
BACKFILL = r.Phase(
    description="Enable dual write and convert existing prices.",
    estimate=timedelta(seconds=30),
    gates=(r.NoDrift(),),
    steps=(
        r.StartDualWrite(id="dual-write", description="Install dual-write triggers", table=OFFERS),
        r.WriteBoth(id="write-both", description="Switch application to dual write"),
        r.Backfill(id="backfill", description="Convert existing prices", table=OFFERS),
        SMOKE_TEST,
        r.FullAudit(id="audit", description="Full audit"),
    ),
)
ENFORCE = r.Phase(
    description="Cut over: price is the column of cents from now on.",
    estimate=timedelta(seconds=10),
    gates=(r.BackfillComplete(), r.AuditClean(), r.NoDrift()),
    steps=(
        r.CutOver(
            id="cut-over",
            description="Swap the names of both columns; keep the texts in sync",
            table=OFFERS,
        ),
        SMOKE_TEST,
        r.FullAudit(id="audit", description="Full audit"),
    ),
)
CONTRACT = r.Phase(
    description="Archive and drop the texts.",
    estimate=timedelta(seconds=20),
    gates=(r.AuditClean(), r.SnapshotVerified(), r.NoDrift()),
    steps=(
        r.FreezeLegacy(id="freeze-legacy", description="Reject legacy-only writes", table=OFFERS),
        r.ArchiveLegacy(id="archive-legacy", description="Archive legacy values", table=OFFERS),
        r.DropLegacy(
            id="drop-legacy",
            description="Drop the legacy column and dual-write triggers",
            table=OFFERS,
        ),
        SMOKE_TEST,
    ),
)

PLAN = r.register(
    r.Plan(
        name=NAME,
        title="Offer prices",
        description="Turns the prices of offers, texts that buyers typed, into whole cents.",
        tables=(OFFERS,),
        translations=(PRICE,),
        phases=(PREPARE, EXPAND, BACKFILL, ENFORCE, CONTRACT),
        traffic="offers.traffic.traffic",
    )
)
