"""The page that confirms a rollback of one phase or of several, and how far that is."""

import re
from dataclasses import replace

import pytest
from django.test import Client

from rollout import runner
from rollout.models import Rollout
from rollout.plan import plans
from rollout.queries.status import find_rollout
from rollout.watchdog.lost_work import continue_chains
from tests.console import journal
from tests.console.journal import PAGE, ran, seen_in, text_of
from tests.schemas import plan_of
from tests.support.offers import PRICE
from tests.support.rollouts import ADA


def test_a_rollback_that_keeps_all_data_asks_for_no_name(rollout: Rollout, lead: Client) -> None:
    for phase in range(4):
        ran(rollout, phase)
        asks = 'name="typed"' in text_of(lead, f"{PAGE}phases/{phase}/roll-back/")
        # Phase 1 drops columns, phase 2 empties them.
        assert asks == (phase in (1, 2)), phase
    text = text_of(lead, f"{PAGE}phases/3/roll-back/")
    assert "Not rehearsed yet: <a" in text


def test_rolling_back_asks_first_and_names_the_steps_newest_first(
    rollout: Rollout, lead: Client
) -> None:
    ran(rollout, 0)
    ran(rollout, 1)
    text = text_of(lead, f"{PAGE}phases/1/roll-back/")
    assert "Ready to roll back" in text
    assert text.index("add-image-columns") < text.index("create-types")
    read = {"typed": journal.PLAN, "seen": seen_in(text)}
    response = lead.post(f"{PAGE}phases/1/roll-back/", read, follow=True)
    assert "Rollback of phase 1 queued." in response.content.decode()
    assert rollout.runs.first().direction == "backward"  # type: ignore[union-attr]


def test_rolling_back_to_a_phase_shows_what_each_rollback_does_and_needs_one_press(
    rollout: Rollout, lead: Client, engineer: Client
) -> None:
    for phase in range(4):
        ran(rollout, phase)
    address = f"{PAGE}phases/1/roll-back/"
    text = text_of(lead, address)
    assert "Roll back to phase 0 in production" in text
    assert re.findall(r'id="phase-(\d)"', text) == ["3", "2", "1"]
    assert (
        "Rolling back phase 1 drops <code>property_statuses</code>, <code>property_types</code>"
        in text
    )
    assert "Rolling back phase 2 empties <code>properties.property_type_id</code>" in text
    assert "No rehearsal of this plan version has rolled these phases back: <a" in text
    release = "First deploy a release that reads and writes the legacy columns"
    assert f"{release}, or that asks for modes: the rollback of phase 2 empties" in text
    assert 'stays, except what <a href="#kept">Kept and lost</a> names as lost.' in text
    without_loss = text_of(lead, f"{PAGE}phases/3/roll-back/")
    assert release not in without_loss
    assert "Data the application has written since is preserved." in without_loss
    assert "<strong>Not lost</strong>: <code>properties.property_type_id</code>, <code>" in text
    assert (
        "<strong>Lost where the application set its own values</strong>: <code>properties.currency"
        in text
    )
    assert "<strong>Lost where people edited rows</strong>: <code>property_statuses" in text
    assert "Mapping decisions are kept: phase 2 applies them when it runs again." in text
    # What a step's way back does, not what it did forward.
    (dual_write,) = re.findall(
        r"<li[^>]*>(?:(?!</li>).)*Install dual-write triggers.*?</li>", text, re.S
    )
    assert "Undo: Install dual-write triggers" in dual_write
    assert "Empties property_type_id, property_status_id, currency" in dual_write
    assert '<span class="step-kind">Clear new columns</span>' in dual_write
    for number, name in ((3, "Phases 0 to 2"), (1, "Phase 0"), (0, "No phase")):
        assert f"{PAGE}phases/{number}/roll-back/" in text
        assert f">{name}</a>" in text
    seen = seen_in(text)
    typed = {"typed": journal.PLAN}
    for name in ("", "properties"):
        untyped = lead.post(address, {"seen": seen, "typed": name})
        assert untyped.status_code == 422
        assert "This rollback is destructive. Type" in untyped.content.decode()
        assert f'name="typed" value="{name}"' in untyped.content.decode()
    stale = lead.post(address, {"seen": f"{seen}0", **typed}, follow=True).content.decode()
    assert "The phases to roll back have changed since you read them." in stale
    for unread in ({}, {"seen": ""}):
        older = lead.post(address, {**unread, **typed}, follow=True).content.decode()
        assert "The page is older than this version of the console." in older
    assert not rollout.runs.filter(direction="backward").exists()
    pressed = lead.post(address, {"seen": seen, **typed}, follow=True)
    assert pressed.redirect_chain == [(PAGE, 302)]
    text = pressed.content.decode()
    assert "Rollback of phases 3 to 1, newest first, queued." in text
    assert "Rolling back to phase 0: phase 3 (1 of 3), 2 left" in text
    assert "Stop after this phase" in text
    assert "Stop after this phase" not in text_of(engineer, PAGE)
    text = lead.post(f"{PAGE}cancel-rollback/", follow=True).content.decode()
    assert "No further phase is rolled back." in text
    assert "Rolling back to phase 0" not in text


def test_the_rollback_of_phase_4_says_what_comes_from_the_archive(
    rollout: Rollout, lead: Client
) -> None:
    for phase in range(5):
        ran(rollout, phase)
    text = text_of(lead, f"{PAGE}phases/4/roll-back/")
    restored = "<code>properties.status</code>, <code>properties.type</code>; from the archive"
    assert f"<strong>Restored exactly</strong>: {restored}" in text
    assert "<strong>Lost" not in text, "a view holds no values of its own"
    assert "First deploy a release" not in text


def test_the_retry_of_a_rollback_that_loses_data_asks_for_the_name(
    rollout: Rollout, lead: Client
) -> None:
    for phase, asks in ((1, True), (2, True), (3, False)):
        run = ran(rollout, phase, "failed", direction="backward")
        address = f"{PAGE}retry/?run={run.pk}"
        assert ("This rollback is destructive" in text_of(lead, address)) == asks, phase
        untyped = lead.post(address, {"run": run.pk})
        assert untyped.status_code == (422 if asks else 302), phase
        rollout.runs.all().delete()
        for number in range(phase + 1):
            ran(rollout, number)


def test_the_start_of_a_phase_says_how_long_the_way_back_takes(
    rollout: Rollout, lead: Client
) -> None:
    for phase in range(3):
        ran(rollout, phase)
    for page in ("start/", "approval/"):
        assert "Rollback of phase 3 not rehearsed yet" in text_of(lead, f"{PAGE}phases/3/{page}")


def test_a_rollback_of_several_phases_that_stopped_says_why_and_can_be_continued(
    rollout: Rollout, lead: Client
) -> None:
    for phase in range(3):
        ran(rollout, phase)
    run = runner.roll_back_to(rollout, 0, actor=ADA)
    rollout.runs.filter(pk=run.pk).update(state="failed", error="no")
    continue_chains()
    for path in (PAGE, f"{PAGE}phases/2/"):
        text = text_of(lead, path)
        assert "Rollback to phase 0 stopped" in text
        assert "The rollback of phase 2 failed." in text
        assert re.search(f'id="continue-rollback" href="{PAGE}phases/1/roll-back/"', text)
    assert "Rollback to phase 0 stopped.</a>" in text_of(lead, PAGE)


def test_a_phase_that_was_rolled_back_shows_how_long_that_took(
    rollout: Rollout, lead: Client
) -> None:
    rehearsal = journal.rehearsed(journal.taken(rollout))
    for phase in (0, 1):
        ran(rollout, phase)
    ran(rollout, 1, direction="backward")
    text = re.sub(r"<[^>]+>|\s+", " ", text_of(lead, PAGE))
    times = rf"Rolled back in 4(\.\d)? s +\(forward 4 s in rehearsal {rehearsal.pk}\)"
    assert re.search(times, text)


@pytest.mark.usefixtures("db", "own_plans")
def test_a_rollback_that_gives_names_back_says_who_reads_legacy_values_then() -> None:
    name = "kept-prices"
    plans.register(plan_of(replace(PRICE, keeps_name=True), name=name))
    rollout = find_rollout(name, "production")
    for phase in range(4):
        ran(rollout, phase)
    lead, page = journal.browser_of("lead"), f"/rollout/{name}/production/phases"
    text = " ".join(text_of(lead, f"{page}/3/roll-back/").split())
    assert "<code>offer.price</code> becomes <code>offer.price_cents</code>" in text
    assert "<code>offer.price_legacy</code> becomes <code>offer.price</code>" in text
    assert "Who reads <code>offer.price</code> gets the legacy values again." in text
    kept = "Decisions about values that do not convert, and about keys in conflict, are kept"
    assert kept not in text
    assert kept in text_of(lead, f"{page}/1/roll-back/")
