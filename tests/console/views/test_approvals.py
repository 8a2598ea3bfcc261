"""The pages on which leads approve, override, schedule and tick."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from rollout.journal.labels import gate_label
from rollout.models import LogEntry, Rollout, ScheduledStart, SignOff
from rollout.plan import plans
from tests.console import journal
from tests.console.journal import PAGE, ran, signed, text_of
from tests.console.logins import logged_in

APPROVAL = f"{PAGE}phases/3/approval/"
START = f"{PAGE}phases/3/start/"
REASON = "The drifting index is ours and harmless."


@pytest.fixture
def second_lead(db: None) -> Client:
    user = User.objects.create_user("lead2")
    user.groups.add(Group.objects.get(name="lead"))
    return logged_in(user)


def digest() -> str:
    return plans.get(journal.PLAN).digest_of(3)


def test_an_approver_reads_all_that_will_run_and_approves_just_that(
    before_phase_3: Rollout, lead: Client
) -> None:
    text = text_of(lead, APPROVAL)
    assert f'name="seen" value="{digest()}"' in text
    assert "ALTER TABLE" in text
    assert "An approval ends with one start, after 3 d, or when" in text
    assert "Rollback SQL" in text
    answer = lead.post(APPROVAL, {"seen": digest()}, follow=True).content.decode()
    assert "Phase 3 approved. Another lead can start it once all gates pass." in answer
    assert "You approved this phase" in text_of(lead, APPROVAL)
    assert "Valid until" in text_of(lead, START)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({}, "The page is older than this version of the console."),
        ({"seen": "0123456789ab"}, "Phase 3 has changed since you read it"),
    ],
)
def test_an_unread_phase_is_not_approved(
    before_phase_3: Rollout, lead: Client, seen: dict[str, str], reason: str
) -> None:
    answer = lead.post(APPROVAL, seen, follow=True).content.decode()
    assert reason in answer
    assert not SignOff.objects.exists()


def test_a_rejection_with_its_reason_is_seen_and_withdrawn(
    before_phase_3: Rollout, lead: Client, second_lead: Client
) -> None:
    short = second_lead.post(APPROVAL, {"seen": digest(), "verdict": "reject", "comment": "<no>"})
    assert short.status_code == 422
    assert "&lt;no&gt;</textarea>" in short.content.decode()
    sent = {"seen": digest(), "verdict": "reject", "comment": "The window is <too> short."}
    answer = second_lead.post(APPROVAL, sent, follow=True).content.decode()
    assert "Phase 3 rejected." in answer
    text = text_of(lead, START)
    assert "<strong>lead2</strong> rejected this phase" in text
    assert "The window is &lt;too&gt; short." in text
    rejection = SignOff.objects.get(kind="rejection")
    address = f"/rollout/sign-offs/{rejection.pk}/withdraw/"
    answer = second_lead.post(address, {"next": START}, follow=True).content.decode()
    assert "You withdrew your rejection." in answer
    assert "rejected this phase" not in text_of(lead, START)


def test_a_rejection_is_in_the_inbox_the_list_and_at_its_gate_with_the_way_to_its_end(
    before_phase_3: Rollout, lead: Client, second_lead: Client
) -> None:
    lead.post(f"{PAGE}phases/3/ask-for-approval/")
    sent = {"seen": digest(), "verdict": "reject", "comment": "Wait for the import of tonight"}
    second_lead.post(APPROVAL, sent)
    place = f"{START}#approvals"
    inbox = text_of(lead, "/rollout/inbox/")
    assert f'<a href="{place}">Phase 3 was rejected by lead2</a>' in inbox
    assert "Wait for the import of tonight" in inbox
    assert "Phase 3 was rejected" not in text_of(second_lead, "/rollout/inbox/")
    overview = text_of(lead, "/rollout/")
    assert "Approval of phase 3 rejected by lead2" in overview
    assert place in overview
    page = text_of(lead, PAGE)
    assert "Wait for the import of tonight. Change the plan and request approval again" in page
    assert f'href="{place}">Open rejection</a>' in page
    assert "Withdraw rejection" in text_of(lead, START).split('id="approvals"')[1]
    SignOff.objects.filter(kind="rejection").update(withdrawn_at=timezone.now())
    assert "Phase 3 was rejected" not in text_of(lead, "/rollout/inbox/")


def test_an_approved_start_that_is_scheduled_asks_nobody(
    before_phase_3: Rollout, second_lead: Client
) -> None:
    signed(before_phase_3)
    assert "Start phase 3, approved by grace" in text_of(second_lead, "/rollout/inbox/")
    start = ScheduledStart.objects.create(
        rollout=before_phase_3,
        phase=3,
        at=timezone.now() + timedelta(days=1),
        zone="UTC",
        actor_name="grace",
    )
    assert "Start phase 3" not in text_of(second_lead, "/rollout/inbox/")
    ScheduledStart.objects.filter(pk=start.pk).update(state="cancelled")
    assert "Start phase 3, approved by grace" in text_of(second_lead, "/rollout/inbox/")


def test_a_request_for_approval_is_seen_by_other_leads(
    before_phase_3: Rollout, lead: Client, second_lead: Client
) -> None:
    assert 'id="ask-for-approval"' in text_of(lead, PAGE)
    answer = lead.post(f"{PAGE}phases/3/ask-for-approval/", follow=True).content.decode()
    assert "Approval requested for phase 3." in answer
    assert "lead requested approval at" in text_of(second_lead, PAGE)
    assert f'id="approve" href="{APPROVAL}"' in text_of(second_lead, PAGE)
    for page in (PAGE, START, f"{PAGE}phases/3/"):
        own, others = text_of(lead, page), text_of(second_lead, page)
        assert f'href="{APPROVAL}"' not in own, page
        assert "waiting for approval" not in own, page
        assert f'href="{APPROVAL}"' in others, page
        assert '<span class="count number">1<span class="visually-hidden"> waiting' in others, page
    assert "A gate that fails or recovers later doesn't end it." in text_of(second_lead, APPROVAL)
    # Who may approve rejects; the request is its maker's to withdraw.
    withdraw = f"/rollout/sign-offs/{SignOff.objects.get().pk}/withdraw/"
    assert withdraw in text_of(lead, START)
    assert withdraw not in text_of(second_lead, START)
    refused = second_lead.post(withdraw, {"next": START}, follow=True).content.decode()
    assert "lead made this request and can withdraw it." in refused
    assert "You withdrew" in lead.post(withdraw, {"next": START}, follow=True).content.decode()


def test_an_approver_reads_gates_rehearsal_and_the_proofs_of_the_data(
    before_phase_3: Rollout, lead: Client
) -> None:
    assert "Estimated duration, not rehearsed" in text_of(lead, APPROVAL)
    report = journal.audited(before_phase_3)
    text = text_of(lead, APPROVAL)
    assert 'aria-label="Blocking gates"' in text
    assert gate_label("snapshot verified") in text
    assert f"/rollout/audits/{report.pk}/" in text.split('id="safety"')[1]


def test_the_starter_s_own_approval_does_not_count_on_the_page_either(
    before_phase_3: Rollout, lead: Client, second_lead: Client
) -> None:
    lead.post(APPROVAL, {"seen": digest()})
    assert "Approved by lead. Another lead, logged in by name, must start the phase." in text_of(
        lead, START
    )
    assert "Approved by lead at" in text_of(second_lead, START)


@pytest.mark.usefixtures("shared_parts")
def test_an_approver_reads_on_every_page_that_another_lead_starts(
    before_phase_3: Rollout,
    lead: Client,
    second_lead: Client,
    viewer: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rollout.plan.gates import Approved
    from rollout.plan.plan import Plan

    # All other gates pass.
    monkeypatch.setattr(Plan, "gates_of", lambda *_, **__: (Approved(),))
    lead.post(APPROVAL, {"seen": digest()})
    for page in (PAGE, f"{PAGE}phases/3/", START):
        for read in (text_of, journal.fragment_of):
            address = f"{page}?show=gates" if page == START else page
            own, others = read(lead, address), read(second_lead, address)
            assert "Another lead, logged in by name, must start the phase." in own, page
            assert "Ready to start" not in own, page
            assert "Blocked: " not in own, page
            assert "blocked</span>" not in own, page
            if read is text_of:
                assert "Waiting for: another lead to start" in own, page
            assert "Another lead, logged in by name, must start" not in others, page
            assert "Ready to start" in others, page
    assert "A lead other than lead to start phase 3" in text_of(viewer, "/rollout/")
    start = f'<a href="{START}">Start phase 3, approved by lead</a>'
    assert start in text_of(second_lead, "/rollout/inbox/")
    assert "Nothing waits for you." in text_of(lead, "/rollout/inbox/")
    rejected = signed(before_phase_3, "rejection", reason="Not today.")
    assert start not in text_of(second_lead, "/rollout/inbox/")
    rejected.delete()
    ran(before_phase_3, 2, direction="backward")
    assert start not in text_of(second_lead, "/rollout/inbox/"), "phase 2 comes first"


def test_an_approval_is_withdrawn_and_why_it_is_void_is_reported(
    before_phase_3: Rollout, lead: Client
) -> None:
    approval = signed(before_phase_3)
    assert "Withdraw approval…</summary>" in text_of(lead, START)
    address = f"/rollout/sign-offs/{approval.pk}/withdraw/"
    refused = lead.post(address, {"next": START}, follow=True).content.decode()
    assert "Say why you withdraw grace&#x27;s approval" in refused
    sent = {"next": START, "reason": "The import runs tonight."}
    text = lead.post(address, sent, follow=True).content.decode()
    assert "You withdrew grace&#x27;s approval." in text
    assert "Invalid because: withdrawn by lead." in text
    signed(before_phase_3, phase_digest="another")
    assert "the SQL or the gates of the phase have changed since" in text_of(lead, START)


def test_a_gate_is_overridden_with_a_reason_that_is_not_lost(
    before_phase_3: Rollout, lead: Client, second_lead: Client
) -> None:
    address = f"{PAGE}phases/3/override/audit-clean/"
    form = text_of(lead, START).split(f'action="{address}"')[1].split("</form>")[0]
    assert 'name="reason" required' in form
    assert "a second lead must confirm" in form
    assert "Request override</button>" in form
    page = text_of(lead, address)
    assert page.index("a second lead must confirm it") < page.index("Reason for override")
    assert "Request override</button>" in page
    short = lead.post(address, {"reason": "<hm>"})
    assert short.status_code == 422
    assert "&lt;hm&gt;</textarea>" in short.content.decode()
    assert lead.post(address, {"reason": REASON}).status_code == 302
    own = text_of(lead, PAGE)
    assert "Awaiting second lead" in own
    assert ">Confirm override</button>" not in own
    for page in (PAGE, START, f"{PAGE}phases/3/"):
        assert ">Confirm override</button>" not in text_of(lead, page)
        assert ">Confirm override</button>" in text_of(second_lead, page)
    assert "waiting for approval" not in own, "it is for others"
    override = SignOff.objects.get()
    second_lead.post(f"/rollout/sign-offs/{override.pk}/agree/")
    text = text_of(lead, PAGE)
    assert "Overridden by lead and lead2" in text
    for page in (START, APPROVAL):
        shown = text_of(lead, page)
        blocking, overridden = shown.index('"Blocking gates"'), shown.index('"Overridden gates"')
        passed = shown.index('<details class="passed">')
        assert blocking < overridden < passed, page
        assert "Overridden by lead and lead2" in shown[overridden:passed], page
        assert REASON in shown[overridden:passed], page
        assert "gates passed</summary>" in shown[passed:], page
        assert "All " not in shown[passed : shown.index("gates passed</summary>")], page


def test_an_override_stays_on_the_page_whatever_becomes_of_it(
    rollout: Rollout, viewer: Client
) -> None:
    run = ran(rollout, 1)
    signed(rollout, "override", phase=1, subject="no drift", reason=REASON, run=run)
    signed(
        rollout,
        "override",
        phase=4,
        subject="soak",
        reason="We have watched it by hand.",
        withdrawn_at=timezone.now(),
        withdrawn_by_name="grace",
    )
    text = text_of(viewer, PAGE)
    assert REASON in text
    assert "Used" in text
    assert "We have watched it by hand." in text
    assert "withdrawn by grace." in text


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ("approved", "This gate can't be overridden."),
        ("earlier-phase-done", "This gate passes; no override needed."),
    ],
)
def test_a_gate_that_cannot_be_overridden_offers_no_form(
    before_phase_3: Rollout, lead: Client, gate: str, reason: str
) -> None:
    text = text_of(lead, f"{PAGE}phases/3/override/{gate}/")
    assert reason in text
    assert "<textarea" not in text


def test_an_unknown_gate_is_not_found(before_phase_3: Rollout, lead: Client) -> None:
    response = lead.get(f"{PAGE}phases/3/override/nonsense/")
    assert response.status_code == 404
    assert "Its gates: earlier phase done" in response.content.decode()


class TestTypingTheName:
    """A phase that takes something away wants the plan's name typed."""

    @pytest.fixture(autouse=True)
    def it_may_start(self, before_phase_3: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
        from rollout.engine.preflight import Preflight
        from rollout.queries import preflights, status
        from rollout.runner import phases

        monkeypatch.setattr(status, "refusal_to_start", lambda *_: "")
        monkeypatch.setattr(phases, "refusal_to_start", lambda *_: "")
        monkeypatch.setattr(preflights, "preflight_of", lambda *_: Preflight([], []))

    @pytest.mark.parametrize("typed", [{}, {"typed": ""}, {"typed": "Property classification"}])
    def test_another_name_starts_nothing_and_is_not_lost(
        self, rollout: Rollout, lead: Client, typed: dict[str, str]
    ) -> None:
        response = lead.post(START, typed)
        assert response.status_code == 422
        text = response.content.decode()
        assert f"Doesn't match; nothing was started. Type {journal.PLAN} to confirm." in text
        assert f'value="{typed.get("typed", "")}"' in text
        assert not rollout.runs.filter(phase=3).exists()

    def test_the_plans_name_starts_the_phase_and_a_second_press_harms_nothing(
        self, rollout: Rollout, lead: Client
    ) -> None:
        form = {"typed": journal.PLAN, "seen": digest()}
        assert "Phase 3 queued." in lead.post(START, form, follow=True).content.decode()
        lead.post(START, form, follow=True)
        assert rollout.runs.filter(phase=3).count() == 1
        assert LogEntry.objects.filter(event="phase started").count() == 1

    def test_a_page_that_the_plan_overtook_starts_nothing(
        self, rollout: Rollout, lead: Client
    ) -> None:
        form = {"typed": journal.PLAN, "seen": "0123456789ab"}
        text = lead.post(START, form, follow=True).content.decode()
        assert "Phase 3 has changed since you read it" in text
        assert not rollout.runs.filter(phase=3).exists()


def test_a_request_is_addressed_with_a_comment_and_repeated_by_a_button(
    before_phase_3: Rollout, lead: Client, second_lead: Client
) -> None:
    text = text_of(lead, START)
    assert 'name="to" value="lead2"' in text
    assert 'name="to" value="lead"' not in text
    sent = {"to": ["lead2"], "comment": "It is <i>Tuesday</i>."}
    lead.post(f"{PAGE}phases/3/ask-for-approval/", sent)
    text = text_of(second_lead, APPROVAL)
    assert "requested approval from <strong>lead2</strong>" in text
    assert "It is &lt;i&gt;Tuesday&lt;/i&gt;." in text
    assert "Remind now" not in text_of(lead, START)
    SignOff.objects.update(at=timezone.now() - timedelta(hours=2))
    assert "Remind now" in text_of(lead, START)
    remind = f"/rollout/sign-offs/{SignOff.objects.get().pk}/remind/"
    answer = lead.post(remind, {"next": START}, follow=True).content.decode()
    assert "Reminder sent for the approval of phase 3." in answer
    assert "Reminder sent <span data-ago=" in answer
    assert "Remind now" not in answer
    refused = lead.post(remind, {"next": START}, follow=True).content.decode()
    assert "before you remind them again" in refused


def test_a_request_cannot_be_addressed_to_who_may_not_approve(
    before_phase_3: Rollout, lead: Client
) -> None:
    sent = {"to": ["<nobody>"]}
    answer = lead.post(f"{PAGE}phases/3/ask-for-approval/", sent, follow=True).content.decode()
    assert "Not asked: &lt;nobody&gt;." in answer
    assert not SignOff.objects.exists()
