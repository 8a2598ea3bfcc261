"""The list of rollouts and the inbox say the same of who is waited for."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from rollout.models import PhaseRun, Repair, Rollout
from rollout.plan import plans
from tests.console import journal
from tests.console.journal import PAGE, ran, text_of

INBOX = "/rollout/inbox/"


def waits_of(client: Client) -> tuple[str, str]:
    """What the list says that a rollout waits for, and the link of it."""
    cell = text_of(client, "/rollout/").split('<td class="wrap">')[1].split("</td>")[0]
    link = re.search('href="([^"]+)"', cell)
    return re.sub("<[^>]+>", "", cell), link[1] if link else ""


def stopped(rollout: Rollout, kind: str, state: str) -> None:
    for phase in (0, 1):
        ran(rollout, phase)
    if kind == "phase":
        ran(rollout, 2, state)
        return
    earlier = ran(rollout, 2, "failed" if kind == "phase before a repair" else "done")
    if kind == "rollback":
        ran(rollout, 2, state, direction="backward")
        return
    PhaseRun.objects.filter(pk=earlier.pk).update(finished_at=timezone.now() - timedelta(hours=1))
    own = "done" if kind == "phase before a repair" else state
    Repair.objects.create(run=ran(rollout, 2, own, direction="repair"), table="properties")


@pytest.mark.parametrize("state", ["failed", "cancelled", "paused"])
@pytest.mark.parametrize("kind", ["phase", "rollback", "repair"])
def test_a_run_that_stands_still_is_in_the_inbox_of_whom_the_list_names(
    rollout: Rollout, lead: Client, engineer: Client, kind: str, state: str
) -> None:
    stopped(rollout, kind, state)
    waits, url = waits_of(lead)
    what = {"phase": "phase 2", "rollback": "the rollback of phase 2"}.get(kind, "the repair of")
    how = "resume" if state == "paused" else "retry or roll back" if kind == "phase" else "retry"
    who = "An engineer or a lead" if state == "paused" else "A lead"
    assert waits.startswith(f"{who} to {how} {what}")
    assert f'<a href="{url}">' in text_of(lead, INBOX)
    assert (f'<a href="{url}">' in text_of(engineer, INBOX)) == (state == "paused")


def test_a_phase_that_failed_waits_after_a_repair_beside_it(rollout: Rollout, lead: Client) -> None:
    stopped(rollout, "phase before a repair", "done")
    assert waits_of(lead)[0] == "A lead to retry or roll back phase 2"
    assert f'<a href="{PAGE}phases/2/">Phase 2 failed</a>' in text_of(lead, INBOX)


def test_mismatched_rows_wait_for_an_engineer_before_the_next_phase(
    rollout: Rollout, lead: Client, engineer: Client
) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    audit = journal.audited(rollout, "mismatched", mismatched=12)
    journal.audited(rollout, mode="sampled")
    repair = f"repair 12 mismatched rows of audit {audit.pk}"
    assert waits_of(lead) == (f"An engineer or a lead to {repair}", audit.get_absolute_url())
    assert f'<a href="{audit.get_absolute_url()}">R{repair[1:]}</a>' in text_of(engineer, INBOX)
    for phase in (3, 4):
        ran(rollout, phase)
    assert waits_of(lead)[0] == f"An engineer or a lead to {repair}", "the last phase is done"


def test_a_mapping_to_review_waits_for_an_engineer_before_the_lead_who_starts(
    rollout: Rollout, lead: Client, engineer: Client
) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    journal.audited(rollout, mapping_values=62, mapping_reviewed=2)
    waits, url = waits_of(lead)
    assert waits == "An engineer or a lead to review the mapping before phase 3"
    assert f'<a href="{url}">Review the mapping before phase 3</a>' in text_of(engineer, INBOX)
    for phase in (3, 2):
        ran(rollout, phase, direction="backward")
    assert "mapping" not in waits_of(lead)[0], "phase 2 is rolled back"
    assert "Review the mapping" not in text_of(engineer, INBOX)


def test_a_hold_waits_for_a_lead_to_release_it_before_anybody_starts_the_next_phase(
    rollout: Rollout, lead: Client, engineer: Client
) -> None:
    held = journal.acting(rollout, "held", "hold", "broken", message="p95 is 900 ms.")
    assert waits_of(lead)[0] == "A lead to start phase 0", "which no gate holds up"
    for phase in (0, 1, 2):
        ran(rollout, phase)
    journal.signed(rollout, "approval", by="ada")
    monitoring, starts = f"{PAGE}monitoring/#rules", "Start phase 3, approved by ada"
    for verdict, what in (
        ("broken", "Investigate guardrail “held”, then release its hold"),
        ("kept", "Release the hold of guardrail “held”"),
    ):
        type(held).objects.update(verdict=verdict)
        assert waits_of(lead) == (f"A lead to {what[:1].lower()}{what[1:]}", monitoring)
        inbox = text_of(lead, INBOX)
        assert f'<a href="{monitoring}">{what}</a>' in inbox
        assert "p95 is 900 ms." in inbox
        assert starts not in inbox
        assert "“held”" not in text_of(engineer, INBOX)
    run = ran(rollout, 3, "running")
    assert "“held”" not in text_of(lead, INBOX), "a hold stops no phase that has begun"
    run.delete()
    type(held).objects.update(acting=False)
    assert waits_of(lead)[0] == "A lead other than ada to start phase 3"
    assert starts in text_of(lead, INBOX)
    journal.audited(rollout, "mismatched", mismatched=12)
    assert starts not in text_of(lead, INBOX), "the rows come first"


def test_a_hold_that_ends_by_itself_waits_for_nobody(rollout: Rollout, lead: Client) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    rules = plans.get(rollout.plan).all_guardrails
    by_itself = next(rule for rule in rules if rule.action == "hold" and rule.resumes)
    journal.acting(rollout, by_itself.id, "hold", "broken")
    assert re.fullmatch("Gate “.+ before phase 3", waits_of(lead)[0])
    assert "Nothing waits for you." in text_of(lead, INBOX)


def test_wrong_rows_come_first_in_the_inbox_however_long_decisions_have_waited(
    rollout: Rollout, lead: Client
) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    request = journal.signed(rollout, "request", by="ada")
    type(request).objects.filter(pk=request.pk).update(at=timezone.now() - timedelta(days=1))
    journal.audited(rollout, "mismatched", mismatched=12, mapping_values=62, mapping_reviewed=2)
    text = text_of(lead, INBOX)
    items = re.findall(r'<th scope="row">\s*<a [^>]+>([^<]+)<', text)
    assert [item.split()[0] for item in items] == ["Repair", "Approve", "Review"]
