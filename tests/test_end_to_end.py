"""The whole rollout, from phase 0 to 4 and back, in the browser, while the application writes."""

import csv
import re
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from config import embedded
from config.home import ROOT
from config.prepare import make_people
from properties.vocabulary import STATUSES, TYPES
from rollout import runner
from rollout.engine.mapping import Decision
from rollout.models import (
    ACTIVE,
    AuditReport,
    LogEntry,
    PhaseRun,
    RunState,
    Snapshot,
    SnapshotState,
)
from rollout.plan import plans
from tests.support import rollouts
from tests.support.browser import Answer, Browser
from tests.support.processes import Running, completed, manage_process, stopped_after, wait_until
from tests.support.servers import Database, manage
from tests.support.writers import Writer

pytestmark = pytest.mark.xdist_group("end to end")

PASSWORD = "of-the-test"
HERE = f"/rollout/{rollouts.PLAN}/production"
ROWS = 500
HEADER = (
    "title,address,city,postal_code,type,status,price,bedrooms,bathrooms,area_sqft,"
    "latitude,longitude"
)
MALFORMED = {
    "Cheap,1 A St,Manhattan,10001,House,Sold,cheap,1,1,500,40.7,-73.9": "price: 'cheap' is not",
    "Short,1 A St,Manhattan": "has 3 columns instead of 12",
    "Far,1 A St,Manhattan,10001,House,Sold,1,1,1,500,400.7,-73.9": "latitude: 400.7 is not",
    'Quote,"1 A St,Manhattan,10001,House,Sold,1,1,1,500,40.7,-73.9': "opens a quotation mark",
}


def write_listings(path: Path) -> None:
    """Listings as in the real file, every spelling there is among them, and four bad rows."""
    types = [spelling for spellings in TYPES.values() for spelling in spellings] + ["", "   "]
    statuses = [text for spellings in STATUSES.values() for text in spellings] + ["", "\t "]
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(HEADER + "\n")
        writer = csv.writer(file)
        for n in range(ROWS):
            kind, status = types[n % len(types)], statuses[n % len(statuses)]
            place = (f"{n} W 57th St Unit {n % 90}", "New York County", f"10{n % 1000:03}")
            numbers = (n % 6, n % 4 + 1, 500 + n, 40.7 + n / 10_000, -73.9 - n / 10_000)
            price = f"{90_000 + n * 517}.00"
            writer.writerow([f"{kind}, {n} W 57th St", *place, kind, status, price, *numbers])
            if n % 120 == 60:
                file.write(list(MALFORMED)[n // 120] + "\n")


@pytest.fixture
def listings(committed_db: Database, tmp_path: Path) -> None:
    """The listings are loaded; what cannot be read is reported by its line."""
    path = tmp_path / "listings.csv"
    write_listings(path)
    done = completed(
        [sys.executable, ROOT / "manage.py", "load_listings", "--file", path],
        env=committed_db.env(),
        check=True,
    )
    assert f"Loaded {ROWS} listings; 0 were there already; 4 rows were rejected." in done.stdout
    lines = path.read_text(encoding="utf-8").split("\n")
    for row, reason in MALFORMED.items():
        assert f"line {lines.index(row) + 1}: {reason}" in done.stderr
    # An empty text, which is not the same as none; a file cannot tell them apart.
    rollouts.execute("UPDATE properties SET type = '' WHERE bedrooms = 5 AND type IS NULL")
    rollouts.execute("UPDATE properties SET status = '' WHERE bathrooms = 3 AND status IS NULL")
    make_people(PASSWORD)


@pytest.fixture
def traffic(listings: None, committed_db: Database, tmp_path: Path) -> Iterator[Running]:
    with stopped_after(
        manage_process(
            *("traffic", "--rate", "20", "--seed", "7"),
            env=committed_db.env(),
            log=tmp_path / "traffic.log",
        )
    ) as running:
        yield running


# Texts that the listings have and that the application writes in every phase: two that become one,
# one that leaves those that it looks like, and one that says nothing.
DECISIONS = {
    "loft": "Apartment",
    "apt": "Apartment",
    "co-op for sale": "Housing society",
    "château": None,
}


@pytest.fixture
def writer(listings: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    meanings = {text: (name or "unspecified").lower() for text, name in DECISIONS.items()}
    monkeypatch.setattr("tests.support.writers.MEANINGS", meanings)
    writer = Writer()
    writer.start()
    yield writer
    writer.stop()


def catalog_of(database: Database) -> list[str]:
    """Every object of the application's schema; a table's columns in any order."""
    dumped = completed(
        [embedded.program("pg_dump"), "--schema-only", "--schema=public", database.url], check=True
    ).stdout
    # Two lines hold a word that is another in each dump.
    lines = [line for line in dumped.splitlines() if not re.match(r"\\(un)?restrict|--|$", line)]
    statements = "\n".join(lines).split(";\n")
    return sorted(
        "\n".join(sorted(line.rstrip(",") for line in statement.splitlines()))
        for statement in statements
    )


def rows_now() -> dict[str, dict[str, Any]]:
    """Every row with all its columns."""
    rows: dict[str, dict[str, Any]] = rollouts.ask(
        "SELECT jsonb_object_agg(id, to_jsonb(p)) FROM properties AS p"
    )
    return rows


def decide() -> None:
    """What people decide about types before they are mapped."""
    lookup = plans.get(rollouts.PLAN).lookups[0]
    runner.review_mapping(
        rollouts.the_rollout(),
        lookup,
        {text: Decision(name) for text, name in DECISIONS.items()},
        actor=rollouts.ADA,
    )


def wait_for_end(direction: str, phase: int) -> None:
    def newest() -> PhaseRun | None:
        return PhaseRun.objects.filter(direction=direction, phase=phase).first()

    def state_now() -> str:
        run = newest()
        return f"{run} {run.error} {list(run.steps.values())}" if run else "no run"

    wait_until(lambda: (run := newest()) is not None and not run.active, seconds=60, seen=state_now)
    run = newest()
    assert run is not None
    assert run.state == RunState.DONE, state_now()


def complete_checklist(browser: Browser) -> None:
    for item in rollouts.items_to_tick():
        token = browser.get(f"{HERE}/").token
        assert "” marked done." in browser.post(f"{HERE}/checklist/{item}/", token).text


def approve(browser: Browser, phase: int) -> None:
    """Read what a phase runs, and approve just that."""
    path = f"{HERE}/phases/{phase}/approval/"
    answer = browser.press(path, f"Approve phase {phase}")
    assert f"Phase {phase} approved." in answer.text


def start(browser: Browser, phase: int) -> None:
    path = f"{HERE}/phases/{phase}/start/"
    typed = rollouts.PLAN if phase > 2 else ""
    answer = browser.press(path, f"Start phase {phase} in production", typed=typed)
    assert f"Phase {phase} queued." in answer.text
    wait_for_end("forward", phase)


def take_snapshot(browser: Browser) -> None:
    answer = browser.press(f"{HERE}/snapshots/", "Take snapshot")
    assert "Taking a snapshot." in answer.text
    wait_until(lambda: not Snapshot.objects.latest("pk").under_way, seconds=60)
    snapshot = Snapshot.objects.latest("pk")
    assert snapshot.state == SnapshotState.VERIFIED, snapshot.error
    page = browser.get(f"/rollout/snapshots/{snapshot.pk}/")
    assert "Verified: test restore matches the source" in page.text


def roll_back(browser: Browser, phase: int) -> None:
    path = f"{HERE}/phases/{phase}/roll-back/"
    answer = browser.press(path, f"Roll back phase {phase} in production", typed=rollouts.PLAN)
    assert f"Rollback of phase {phase} queued." in answer.text
    wait_for_end("backward", phase)


def press_start_at_once(*browsers: Browser) -> list[str]:
    """Both have the form before them, and press at the same moment."""
    path = f"{HERE}/phases/0/start/"
    pages = [browser.get(path) for browser in browsers]
    barrier = threading.Barrier(len(browsers))
    answers: list[str] = []

    def press(browser: Browser, page: Answer) -> None:
        barrier.wait()
        answers.append(browser.post(path, page.token, seen=page.seen).text)

    threads = [
        threading.Thread(target=press, args=pair) for pair in zip(browsers, pages, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def refuse_what_is_out_of_order(lead: Browser) -> None:
    token = lead.get(f"{HERE}/phases/0/start/").token
    answer = lead.post(f"{HERE}/phases/3/start/", token)
    assert "Phases 0 to 2 must run first." in answer.text
    read = plans.get(rollouts.PLAN).digest
    answer = lead.post(f"{HERE}/phases/0/roll-back/", token, seen=read)
    assert "there is nothing to roll back" in answer.text
    for address in ("phases/5/", "phases/5/start/", "phases/99/roll-back/", "phases/-1/"):
        assert lead.get(f"{HERE}/{address}").status == 404
    assert lead.post(f"{HERE}/phases/5/start/", token).status == 404
    unknown = lead.get("/rollout/nonsense/production/")
    assert (unknown.status, "Traceback" in unknown.html) == (404, False)
    assert not PhaseRun.objects.exists()
    assert not LogEntry.objects.exists()


def assert_nothing_was_lost(writer: Writer, rows: dict[str, dict[str, Any]]) -> None:
    checked = spelt = 0
    for key, written in writer.written.items():
        row = rows[str(key)]
        if datetime.fromisoformat(row["updated_at"]) != written.at:
            continue  # The traffic has written to it since.
        checked += 1
        spelt += written.type.spelling_is_known
        assert row["title"] == written.title
        assert row["price"] == float(written.price)
        assert written.type.is_kept_in(row["type"]), (row, written)
        assert written.status.is_kept_in(row["status"]), (row, written)
    assert checked > 50
    assert spelt > 20


def assert_nothing_else_changed(
    before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]
) -> None:
    """Rows that nobody wrote to, as their time of change tells, are what they were."""
    untouched = [
        key for key, row in before.items() if after[key]["updated_at"] == row["updated_at"]
    ]
    assert len(untouched) > ROWS / 2
    for key in untouched:
        assert after[key] == before[key]


def assert_as_their_phase_found_them(
    phase: int, before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]
) -> int:
    """Rows that nobody wrote to since are to the byte what they were, in every column; how many."""
    untouched = [
        key
        for key, row in before.items()
        if key in after and after[key]["updated_at"] == row["updated_at"]
    ]
    differing = {key: (before[key], after[key]) for key in untouched if before[key] != after[key]}
    assert not differing, f"after the rollback of phase {phase}"
    return len(untouched)


def test_the_property_rollout_goes_forward_and_back_while_the_application_writes(
    traffic: Running,
    writer: Writer,
    web: str,
    qcluster: Running,
    watchdog: Running,
    committed_db: Database,
) -> None:
    lead = Browser(web).log_in("lead", PASSWORD)
    second_lead = Browser(web).log_in("lead2", PASSWORD)
    refuse_what_is_out_of_order(lead)
    before, catalog_before = rows_now(), catalog_of(committed_db)

    answers = press_start_at_once(lead, second_lead)
    assert sum("Phase 0 queued." in answer for answer in answers) == 1, answers
    assert PhaseRun.objects.count() == 1
    wait_for_end("forward", 0)
    rows_found = {0: before}
    for phase in (1, 2, 3, 4):
        if phase == 1:
            complete_checklist(lead)
        if phase == 2:
            decide()
        rows_found[phase] = rows_now()
        if phase == 3:
            rollouts.review_mapping(rollouts.the_rollout())
        if phase in (3, 4):
            take_snapshot(lead)
            approve(lead, phase)
            own = lead.get(f"{HERE}/phases/{phase}/start/").text
            assert "Approved by lead. Another lead, logged in by name, must start the phase." in own
            approve(second_lead, phase)
        start(lead, phase)
        assert lead.get(f"{HERE}/phases/{phase}/").status == 200
        assert lead.get("/properties/").status == 200
    in_the_end = rows_now()
    assert not any("type" in row or "status" in row for row in in_the_end.values())
    for phase in (4, 3, 2, 1, 0):
        roll_back(second_lead, phase)
        assert assert_as_their_phase_found_them(phase, rows_found[phase], rows_now()) > ROWS / 2
        assert lead.get("/properties/").status == 200
        if phase == 4:
            assert " new columns; none differs." in (lead.get(f"{HERE}/phases/4/").text)

    # On a busy machine all phases may be over before enough was written to tell anything.
    wait_until(lambda: len(writer.written) > 150, seconds=60)
    writer.stop()
    traffic.stop()
    assert writer.errors == []
    assert all(writes > 20 for writes in writer.writes.values()), writer.writes
    assert re.search(r"Stopped after [\d,]{3,} operations, 0 errors\.", traffic.output()), (
        traffic.output()
    )
    after = rows_now()
    assert_nothing_was_lost(writer, after)
    assert_nothing_else_changed(before, after)
    assert catalog_of(committed_db) == catalog_before
    left = "SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relkind = 'r'"
    assert rollouts.ask(f"{left} AND relnamespace = 'rollout'::regnamespace") == [
        "attributes",
        "conflicting_writes",
        "decisions",
        "lanes",
        "losses",
        "modes",
        "paces",
        "quarantine",
        "throttles",
        "throughputs",
        "value_decisions",
    ]
    # The engine's own, as its tables are; those of triggers have gone.
    functions = (
        "SELECT array_agg(proname) FROM pg_proc WHERE pronamespace = 'rollout'::regnamespace"
    )
    assert rollouts.ask(functions) == ["raises"]
    for phase in (2, 3):
        (report,) = AuditReport.objects.filter(run__phase=phase)
        assert (report.status, report.mismatched) == ("clean", 0)
        assert report.rows >= ROWS
    assert not PhaseRun.objects.filter(state__in=ACTIVE).exists()
    assert set(PhaseRun.objects.values_list("actor_name", flat=True)) <= {"lead", "lead2"}
    assert "Hash chain OK" in manage("rollout", "verify-log", url=committed_db.url)
