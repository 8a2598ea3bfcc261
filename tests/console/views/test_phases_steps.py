"""The steps of a phase, as every page that has them shows them."""

import re

from django.test import Client

from rollout.console import previews
from rollout.models import Rollout
from rollout.plan import plans
from tests.console import journal
from tests.console.journal import PAGE, PLAN, ran, text_of


def nothing_to_undo(phase: int) -> str:
    """A step of a phase whose rollback has nothing to do."""
    plan = plans.get(PLAN)
    return next(step.id for step in plan.phases[phase].steps if not plan.backward(step).actions)


def test_every_step_is_shown_with_its_sql_both_ways(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, f"{PAGE}phases/4/")
    for step in plans.get(journal.PLAN).phases[4].steps:
        assert step.description in text
        assert f'id="step-{step.id}"' in text
    assert "DROP COLUMN IF EXISTS &quot;type&quot;" in text
    assert "ADD COLUMN IF NOT EXISTS &quot;type&quot; text" in text
    assert "ACCESS EXCLUSIVE</strong> on <code>properties</code>" in text
    assert "blocks reads and writes" in text
    assert text.count("</svg>Destructive</span>") == 4, "the phase and three of its steps"


def test_a_step_is_a_line_that_opens_to_its_sql_and_that_of_its_rollback(
    rollout: Rollout, lead: Client
) -> None:
    for phase in range(4):
        ran(rollout, phase)
    for page in ("start/", "approval/", "ticket/", "roll-back/", ""):
        text = text_of(lead, f"{PAGE}phases/4/{page}")
        above, *lines = text.replace(" open>", ">").split('<details class="step-line">')
        # What is approved lies open; smoke tests have nothing to read.
        unfolded = text.count('<details class="step-line" open>')
        assert unfolded == (8 if page == "approval/" else 0), page
        assert "<pre" not in above, page
        if page != "roll-back/":
            assert len(lines) == len(plans.get(PLAN).phases[4].steps), page
    (drop,) = (line for line in lines if "<strong>Drop legacy columns" in line)
    assert "ADD COLUMN IF NOT EXISTS &quot;type&quot; text" not in above
    summary, inside = drop.split("</summary>")
    assert "Destructive</span>" in summary
    assert '<span class="step-kind">Statement</span>' in summary
    assert "blocks reads and writes" in summary
    assert "(waits ≤ 2 s)" in summary
    assert "rollback blocks reads and writes" in summary
    assert "not rehearsed" in summary
    assert "ADD COLUMN IF NOT EXISTS &quot;type&quot; text" in inside.split("Rollback SQL")[1]


def test_lock_wait_and_hold_times_stand_beside_the_steps(rollout: Rollout, lead: Client) -> None:
    journal.rehearsed(journal.taken(rollout))
    for page in ("start/", "ticket/", "roll-back/", ""):
        text = text_of(lead, f"{PAGE}phases/1/{page}")
        assert "A statement waits at most 0.2 s for its lock, in later attempts up to 2 s" in text
    for page in ("start/", ""):
        harmless = text_of(lead, f"{PAGE}phases/0/{page}")
        assert "blocks nothing" in harmless
        assert "A statement waits" not in harmless
    (line,) = (
        line
        for line in text.split('<details class="step-line">')
        if "<code>add-property-columns" in line
    )
    assert "(waits ≤ 2 s, held 12.5 ms)" in line
    assert re.search(r'step-time number">[^<]+ s in rehearsal</span>', line)


def test_the_times_of_a_step_say_which_way_they_are_once_it_was_rolled_back(
    rollout: Rollout, viewer: Client
) -> None:
    journal.rehearsed(journal.taken(rollout))
    page = f"{PAGE}phases/1/"
    journal.reached(ran(rollout, 1), "add-property-columns")
    text = text_of(viewer, page)
    assert 'step-time number">2 s in rehearsal' in text
    assert 'small number">2 s</span>' in text
    journal.reached(ran(rollout, 1, direction="backward"), "add-property-columns")
    text = text_of(viewer, page)
    assert 'step-time number">forward 2 s, rollback 2 s in rehearsal' in " ".join(text.split())
    assert 'small number">rollback 2 s</span>' in text
    run = rollout.runs.get(phase=1, direction="backward")
    journal.reached(run, nothing_to_undo(1), result="Nothing to roll back.")
    text = text_of(viewer, page)
    assert text.count('<span class="muted small">Nothing to undo</span>') == 1
    assert "Nothing to roll back." not in text


def test_sql_for_other_servers_is_folded_away(rollout: Rollout, lead: Client) -> None:
    text = text_of(lead, f"{PAGE}phases/3/start/")
    (line,) = (line for line in text.split('<details class="step-line">') if "Set NOT NULL" in line)
    own, others, *_ = line.split('<details class="elsewhere">')
    assert "not run on this server" in others
    is_new = previews.server_of(rollout) >= 180000  # type: ignore[operator]
    assert ("PostgreSQL 18 and newer only." in own) is is_new
    assert ("PostgreSQL before 18 only." in own) is not is_new
    assert ("PostgreSQL before 18 only." in others) is is_new
