"""One press for all that a phase still needs and that is not a person's own part."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from rollout import gates
from rollout.engine.mapping import ReviewCounts
from rollout.gates import Evidence, check_gates, mappings
from rollout.gates.checklists import ItemStatus, checklist_of
from rollout.gates.preparations import missing_before
from rollout.gates.registry import Action
from rollout.models import AuditReport, LogEntry, PhaseRun, Rollout, SignOff, Snapshot
from rollout.plan import BackfillRehearsed, plans
from rollout.queries.status import find_rollout
from tests.console import journal
from tests.console.journal import PAGE, text_of

PREPARE = f"{PAGE}phases/3/prepare/"


def missing(rollout: Rollout) -> list[Action]:
    evidence = Evidence(find_rollout(rollout.plan, rollout.environment), 3)
    return missing_before(check_gates(evidence), evidence)


def test_one_press_requests_what_is_missing_and_a_second_repeats_nothing(
    before_phase_3: Rollout, lead: Client
) -> None:
    wanted = missing(before_phase_3)
    assert {"take_snapshot", "start_audit", "request_approval"} <= set(wanted)
    assert 'id="prepare"' in text_of(lead, PAGE)
    text = lead.post(PREPARE, follow=True).content.decode()
    assert "Requested: " in text
    assert 'id="prepare"' not in text
    assert Snapshot.objects.get().then_rehearse == ("rehearse" in wanted)
    assert AuditReport.objects.count() == 1
    assert SignOff.objects.get().kind == "request"
    left = missing(before_phase_3)
    assert not {"take_snapshot", "rehearse", "start_audit", "request_approval"} & set(left)
    before = LogEntry.objects.count()
    lead.post(PREPARE)
    assert LogEntry.objects.count() <= before + len(left)
    assert Snapshot.objects.count() == 1


def test_a_press_says_what_it_leaves_to_people(
    before_phase_3: Rollout, lead: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = ReviewCounts(63, 54, timezone.now())
    lookups = plans.get(before_phase_3.plan).lookups
    monkeypatch.setattr(mappings, "_counts", lambda *_: dict.fromkeys(lookups, counts))
    gates.invalidate()
    left = f'<a href="{PAGE}mappings/?show=open">Mapping reviewed</a>.'
    for page in (PAGE, f"{PAGE}phases/3/", f"{PAGE}phases/3/start/"):
        rest = text_of(lead, page).split("It leaves to people: ")[1]
        assert rest.lstrip().startswith(left), page
    counts = ReviewCounts(63, 63, timezone.now())
    gates.invalidate()
    text = text_of(lead, PAGE)
    assert 'id="prepare"' in text
    assert "It leaves to people" not in text
    gates.invalidate()


def test_wrong_rows_are_repaired_before_a_press_takes_a_snapshot_of_them(
    before_phase_3: Rollout, lead: Client
) -> None:
    journal.audited(before_phase_3, "mismatched", mismatched=12)
    assert missing(before_phase_3) == []
    text = text_of(lead, PAGE)
    assert 'id="prepare"' not in text
    assert "Repair…" in text
    lead.post(PREPARE)
    assert not Snapshot.objects.exists()
    journal.audited(before_phase_3)
    journal.acting(before_phase_3, "wrong-values-before-a-phase", "hold", "broken")
    assert "take_snapshot" in missing(before_phase_3), "the hold ends by itself"


def test_a_request_that_the_role_may_not_make_is_left_out(
    before_phase_3: Rollout, engineer: Client
) -> None:
    engineer.post(PREPARE)
    assert Snapshot.objects.count() == 1
    assert not SignOff.objects.exists()


def test_a_refusal_is_reported_beside_what_was_requested(
    before_phase_3: Rollout, lead: Client
) -> None:
    journal.ran(before_phase_3, 3, "running")
    text = lead.post(PREPARE, follow=True).content.decode()
    assert "delay its locks" in text
    assert not Snapshot.objects.exists()


def test_a_snapshot_is_taken_with_the_rehearsal_that_waits_for_it(
    before_phase_3: Rollout, engineer: Client
) -> None:
    address = f"{PAGE}snapshots/"
    sent = {"then_rehearse": "1", "next": PAGE}
    text = engineer.post(address, sent, follow=True).content.decode()
    assert "A rehearsal starts from it then." in text
    assert Snapshot.objects.get().then_rehearse
    permission = Permission.objects.get(codename="rehearse_rollout")
    Group.objects.get(name="engineer").permissions.remove(permission)
    assert engineer.post(address, sent).status_code == 403


def test_a_running_rehearsal_is_not_requested_again(
    rollout: Rollout,
) -> None:
    """After a mapping decision outdated the rehearsal before, which both had counted for."""

    plan = replace(plans.get(rollout.plan), checklist=(BackfillRehearsed(),))

    def evidence() -> Evidence:
        return Evidence(rollout, 1, plan=plan)

    def item() -> ItemStatus:
        return checklist_of(evidence())[0]

    def wanted() -> set[str]:
        missing = missing_before(check_gates(evidence()), evidence())
        return {"take_snapshot", "rehearse"} & {*missing}

    journal.ran(rollout, 0)
    passed = journal.rehearsed(journal.taken(rollout), plan_digest=plan.digest)
    hour = timedelta(hours=1)
    PhaseRun.objects.create(
        rollout=passed.sandbox,
        phase=2,
        state="done",
        actor_name="grace",
        plan_digest=passed.plan_digest,
        started_at=timezone.now() - 2 * hour,
        finished_at=timezone.now() - hour,
    )
    journal.reviewed(rollout)
    assert item().action == "take_snapshot"
    assert "take_snapshot" in wanted()
    snapshot = journal.taken(rollout, "taking", then_rehearse=True)
    assert item().message == (
        f"Snapshot {snapshot.pk} is being taken. A rehearsal starts from it then. Wait until that "
        "has finished."
    )
    assert not wanted()
    snapshot.state, snapshot.then_rehearse = "verified", False
    snapshot.save()
    rehearsal = journal.rehearsed(snapshot, "running")
    assert item().message.startswith(f"Rehearsal {rehearsal.pk} is running: ")
    assert not wanted()
