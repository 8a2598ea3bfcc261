"""Reads answered by both shapes of the property schema, over a database of the test's own."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.utils import timezone

from properties import catalog
from properties.listings import Filters, Listing
from properties.shapes import PLAN
from rollout import runner, shadow
from rollout.engine.mapping import Decision
from rollout.gates.readers import reads_legacy
from rollout.models import (
    AuditMode,
    AuditReport,
    Finding,
    LogEntry,
    Measurement,
    Mismatch,
    PhaseRun,
    Rollout,
    RuleState,
    ShadowTally,
)
from rollout.modes import Modes
from rollout.plan import plans
from rollout.shadow import reads as reading
from rollout.shadow.answers import Answer
from rollout.shadow.reads import Reader
from rollout.telemetry import operation
from rollout.telemetry.operations import unmeasured
from rollout.telemetry.recorder import recorder
from rollout.watchdog import guardrails
from tests.support import rollouts
from tests.support.processes import PATIENCE
from tests.support.rollouts import ADA
from tests.support.servers import Database, filled_template

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker


class Here(Reader):
    """A reader without a thread: the test is the thread."""

    def _start(self) -> None:
        pass

    def work_off(self) -> dict[str, int]:
        """Answer all that waits; how often each thing came of it."""
        ShadowTally.objects.all().delete()
        while not self._waiting.empty():
            self.work(wait=0)
        self.flush()
        names = ("same", "differed", "unfilled", "mapped", "transient", "unstable", "failed")
        counts = {n: sum(getattr(tally, n) for tally in ShadowTally.objects.all()) for n in names}
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
def here(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Here:
    settings.ROLLOUT = {**settings.ROLLOUT, "SHADOW": True}
    here = Here()
    monkeypatch.setattr(shadow, "reader", here)
    monkeypatch.setattr(reading, "RECHECK_AFTER_SECONDS", 0.0)
    return here


@pytest.fixture
def beginning(template: str, django_db_blocker: "DjangoDbBlocker") -> str:
    """Forty listings in both shapes, at the end of phase 2."""
    with django_db_blocker.unblock():
        return rollouts.template_after(filled_template("houses", template, _load), phases=3)


def _load() -> None:
    rollouts.load_listings(40)
    rollouts.execute(
        "UPDATE properties SET type = CASE WHEN bedrooms > 1 THEN 'House' ELSE 'Loft' END,"
        " status = 'Active'"
    )


@pytest.fixture
def shadowed(committed_db: Database, here: Here) -> Rollout:
    """Every read of those listings is compared."""
    rollout = rollouts.the_rollout()
    runner.set_shadow_percent(rollout, 100, actor=ADA)
    known(here)
    return rollout


def known(here: Here) -> None:
    """Let the share be seen: it is looked for once somebody has asked."""
    here._shares.of(PLAN, "default")
    here._shares.refresh()


def newest() -> Listing:
    return catalog.search(Filters(), size=1).listings[0]


def spoil(listing: Listing) -> None:
    """Give a listing another lookup row than its text says, past all triggers."""
    past_triggers(
        "UPDATE properties SET property_type_id = (SELECT min(id) FROM property_types"
        " WHERE id <> property_type_id) WHERE id = %s",
        listing,
    )


def past_triggers(statement: str, listing: Listing) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, [listing.id])
        cursor.execute("SET session_replication_role = origin")


def offered(here: Here, read: Callable[[Modes], Answer]) -> dict[str, int]:
    """What comes of a read that an application offers."""
    modes = Modes(write="both")
    shadow.offer("look", plan=PLAN, table="properties", modes=modes, read=read)
    return here.work_off()


def legacy_reads() -> int:
    """Statements that the gate takes for reads of a legacy column, since the last reset."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT query FROM pg_stat_statements WHERE dbid ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        names = {"properties": ["type", "status"]}
        return sum(reads_legacy(query, names) for (query,) in cursor.fetchall())


def test_nobody_takes_a_shadow_read_for_a_reader_of_legacy_columns(
    shadowed: Rollout, here: Here
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW shared_preload_libraries")
        if "pg_stat_statements" not in cursor.fetchone()[0]:
            pytest.skip("the server does not load pg_stat_statements")
        cursor.execute("CREATE EXTENSION pg_stat_statements")
    listing = newest()
    catalog.get_property(listing.id)
    catalog.search(Filters(text=listing.title))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_statements_reset()")
    assert here.work_off() == {"same": 3}
    assert legacy_reads() == 0
    catalog.get_property(listing.id)
    assert legacy_reads() == 1


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


def judged(rollout: Rollout) -> str:
    """What the rule about wrong values says now."""
    guardrails.evaluate(rollout, now=timezone.now())
    return RuleState.objects.get(rule="wrong-values-before-a-phase").message


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


def test_reads_beyond_the_capacity_are_skipped_and_reported(shadowed: Rollout, here: Here) -> None:
    here.work_off()
    for _ in range(reading.MAX_WAITING + 7):
        shadow.offer(
            "look", plan=PLAN, table="properties", modes=Modes(write="both"), read=lambda m: {}
        )
    assert here.work_off() == {"same": reading.MAX_WAITING}
    assert sum(tally.skipped for tally in ShadowTally.objects.all()) == 7


def test_an_offer_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(offer: object) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr("rollout.shadow.reader.offer", breaks)
    shadow.offer("look", plan=PLAN, table="t", modes=Modes(write="both"), read=lambda m: {})
