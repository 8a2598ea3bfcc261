"""Why two answers differ, over a database of the test's own."""

import time
from typing import TYPE_CHECKING, Any

from django.db import connection

from properties import catalog
from properties.listings import Filters
from properties.shapes import PLAN
from rollout import runner
from rollout.engine.mapping import Decision
from rollout.models import (
    AuditMode,
    AuditReport,
    Finding,
    LogEntry,
    Measurement,
    Mismatch,
    PhaseRun,
    Rollout,
    ShadowTally,
)
from rollout.modes import Modes
from rollout.plan import plans
from rollout.shadow.answers import Answer
from rollout.telemetry import operation
from rollout.telemetry.operations import unmeasured
from rollout.telemetry.recorder import recorder
from tests.support import rollouts
from tests.support.processes import PATIENCE
from tests.support.rollouts import ADA

if TYPE_CHECKING:
    pass
from tests.shadow.shadowed_reads import Here, judged, known, newest, offered, past_triggers, spoil


def test_differences_are_classified(shadowed: Rollout, here: Here) -> None:
    listing = newest()
    here.work_off()

    # Both shapes say the same, on either page, before the cutover.
    catalog.search(Filters())
    catalog.search(Filters(type=listing.type))
    assert here.work_off() == {"same": 2}
    for tally in ShadowTally.objects.all():
        assert tally.operation == "search"
        assert sum(tally.old_durations.values()) == sum(tally.new_durations.values())
        assert sum(tally.new_durations.values()) == tally.compared
    assert not AuditReport.objects.filter(mode=AuditMode.SHADOW).exists()

    # Another spelling of the same value is what the mapping says.
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE property_types SET name = name || '.' WHERE id ="
            " (SELECT property_type_id FROM properties WHERE id = %s)",
            [listing.id],
        )
    catalog.get_property(listing.id)
    assert here.work_off() == {"mapped": 1}
    with connection.cursor() as cursor:
        cursor.execute("UPDATE property_types SET name = rtrim(name, '.')")

    # A wrong value is a mismatch, once, with the operation that met it.
    spoil(listing)
    answer = catalog.get_property(listing.id)
    assert answer.type == listing.type, "what people see is the old path's answer"
    catalog.search(Filters())
    while not here._waiting.empty():
        here.work(wait=0)
    here.flush()
    report = AuditReport.objects.get(mode=AuditMode.SHADOW)
    assert (report.status, report.mismatched, report.categories) == ("mismatched", 1, {"wrong": 1})
    mismatch = Mismatch.objects.get(report=report)
    assert (mismatch.operation, mismatch.category) == ("detail", "wrong")
    assert (mismatch.key, mismatch.expected) == (str(listing.id), listing.type)
    assert Finding.objects.get().last_report == report
    assert LogEntry.objects.filter(event="shadow read differs").count() == 1
    assert "with wrong values found (shadow reads" in judged(shadowed)

    # The mend is seen by the next full audit; what shadow reads found is settled by that.
    runner.repair(
        shadowed,
        table="properties",
        selection={"columns": ["property_type_id"]},
        report=report,
        actor=ADA,
    )
    rollouts.work()
    catalog.get_property(listing.id)
    assert here.work_off() == {"same": 1}
    assert "0 wrong values found" in judged(shadowed)

    # Past the cutover the new path answers, and the old one is the shadow.
    rollouts.carry_out(shadowed, 3)
    here.work_off()
    spoil(listing)
    assert catalog.get_property(listing.id).type != listing.type
    assert here.work_off() == {"differed": 1}
    # Where the old shape goes there is nothing to compare with.
    PhaseRun.objects.create(rollout=shadowed, phase=4, state="running", actor_name="ada")
    known(here)
    catalog.get_property(listing.id)
    assert here.work_off() == {}


def test_search_that_follows_a_decision_is_no_mismatch(shadowed: Rollout, here: Here) -> None:
    listing = newest()
    rollouts.execute(f"UPDATE properties SET type = 'apt' WHERE id = '{listing.id}'")
    here.work_off()
    (lookup,) = (lookup for lookup in plans.get(PLAN).lookups if lookup.legacy == "type")
    runner.review_mapping(shadowed, lookup, {"apt": Decision("Loft")}, actor=ADA)
    for text in ("Loft", "apt"):
        rollouts.execute(f"UPDATE properties SET type = '{text}' WHERE id = '{listing.id}'")
    # It comes, and pushes another one off a page that is full.
    for size in (50, 2):
        catalog.search(Filters(type="Loft"), size=size)
    # Who asks for a text that was decided on finds what else its lookup row has.
    catalog.search(Filters(type="apt"))
    assert here.work_off() == {"mapped": 3}
    assert not AuditReport.objects.filter(mode=AuditMode.SHADOW).exists()


def test_misbehaving_paths_are_classified(shadowed: Rollout, here: Here, settings: Any) -> None:
    first, second = (row.id for row in catalog.search(Filters(), size=2).listings)
    here.work_off()
    calls: list[str] = []

    def fails(modes: Modes) -> Answer:
        if modes.read == "new":
            raise ZeroDivisionError("no such page")
        return {}

    assert offered(here, fails) == {"failed": 1}
    assert ShadowTally.objects.exclude(error="").get().error == "ZeroDivisionError: no such page"

    def is_slow(modes: Modes) -> Answer:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(300)")
        return {}

    began = time.monotonic()
    settings.ROLLOUT = {**settings.ROLLOUT, "SHADOW_TIMEOUT_MS": 100}
    assert offered(here, is_slow) == {"failed": 1}
    assert "statement timeout" in ShadowTally.objects.exclude(error="").get().error
    assert time.monotonic() - began < PATIENCE
    settings.ROLLOUT = {**settings.ROLLOUT, "SHADOW_TIMEOUT_MS": 10_000}

    def writes(modes: Modes) -> Answer:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM properties")
        return {}

    assert offered(here, writes) == {"failed": 1}
    assert "read-only" in ShadowTally.objects.exclude(error="").get().error

    def never_the_same(modes: Modes) -> Answer:
        calls.append(modes.read)
        # Whichever path is asked first.
        return {first if modes.read == "legacy" and calls.count("legacy") % 2 else second: {}}

    assert offered(here, never_the_same) == {"unstable": 1}

    def differs_once(modes: Modes) -> Answer:
        calls.append(modes.read)
        return {first: {}} if modes.read == "new" and len(seen) == 0 else {}

    seen: list[int] = []

    def differs_for_a_moment(modes: Modes) -> Answer:
        answer = differs_once(modes)
        if calls.count("new") > 1:
            seen.append(1)
            return {}
        return answer

    calls.clear()
    assert offered(here, differs_for_a_moment) == {"transient": 1}

    # Rows are right and yet the new path leaves one out: that is no matter of the row.
    assert offered(here, lambda m: {first: {}, **({} if m.read == "new" else {second: {}})}) == {
        "differed": 1
    }
    mismatch = Mismatch.objects.get()
    assert (mismatch.category, mismatch.operation) == ("answer_differs", "look")
    assert (mismatch.key, mismatch.column, mismatch.finding) == (str(second), "", None)
    assert "0 wrong values found" in judged(shadowed)

    # What a read names as operations is the shadow's, not the application's.
    recorder.flush()
    before = Measurement.objects.count()

    def names_an_operation(modes: Modes) -> Answer:
        with operation("look"):
            return {}

    with unmeasured():
        assert offered(here, names_an_operation) == {"same": 1}
    recorder.flush()
    assert Measurement.objects.count() == before


def test_rows_that_the_backfill_has_not_reached_are_no_mismatch(
    shadowed: Rollout, here: Here
) -> None:
    listing = newest()
    PhaseRun.objects.filter(phase=2).update(state="running")
    past_triggers("UPDATE properties SET property_type_id = NULL WHERE id = %s", listing)
    here.work_off()
    catalog.get_property(listing.id)
    assert here.work_off() == {"unfilled": 1}
    PhaseRun.objects.filter(phase=2).update(state="done")
    catalog.get_property(listing.id)
    assert here.work_off() == {"differed": 1}
    assert Mismatch.objects.get().category == "missing"
