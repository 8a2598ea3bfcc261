"""Approvals and overrides: who may start what, in whatever order people act."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from rollout import gates, runner
from rollout.gates import Evidence
from rollout.models import LogEntry, PhaseRun, Rollout, SignOff
from rollout.plan import Approved, Item, Plan
from rollout.plan.gates import ChecklistComplete, ProbesPassed
from rollout.runner import Refused
from tests.runner.signed_plans import PHASE, Known, digest, end, plan_with, roll_back
from tests.support import rollouts
from tests.support.rollouts import ADA

pytestmark = pytest.mark.usefixtures("nothing_is_in_the_way")


def approve(rollout: Rollout, known: Known, by: str) -> SignOff:
    return runner.approve(rollout, PHASE, seen=digest(known), actor=rollouts.person(by))


def start(rollout: Rollout, by: str) -> PhaseRun:
    return runner.start(rollout, PHASE, actor=rollouts.person(by))


def refusal(rollout: Rollout, by: object) -> str:
    with pytest.raises(Refused) as refused:
        runner.start(rollout, PHASE, actor=by)  # type: ignore[arg-type]
    return str(refused.value)


class TestApprovals:
    def test_nobody_starts_what_nobody_approved(self, signed: Rollout) -> None:
        assert "Not approved yet. Request approval from another lead." in refusal(
            signed, rollouts.person()
        )

    def test_another_lead_starts_what_one_approved(self, signed: Rollout, known: Known) -> None:
        approval = approve(signed, known, "grace")
        assert (
            "Approved by grace. Another lead, logged in by name, must start the phase."
            in refusal(signed, rollouts.person("grace"))
        )
        run = start(signed, "ada")
        approval.refresh_from_db()
        assert approval.run == run
        gate = LogEntry.objects.get(event="phase started").data["gates"][-1]
        assert (gate["name"], gate["status"]) == ("approved", "pass")

    def test_an_unknown_user_neither_approves_nor_starts(
        self, signed: Rollout, known: Known
    ) -> None:
        with pytest.raises(Refused, match="Only a named user may approve a phase"):
            runner.approve(signed, PHASE, seen=digest(known), actor=ADA)
        approve(signed, known, "grace")
        assert "logged in by name" in refusal(signed, ADA)

    def test_two_presses_are_one_approval(self, signed: Rollout, known: Known) -> None:
        assert approve(signed, known, "grace") == approve(signed, known, "grace")
        assert LogEntry.objects.filter(event="approved").count() == 1

    def test_only_the_phase_as_it_was_read_is_approved(self, signed: Rollout, known: Known) -> None:
        seen = digest(known)
        known.use(plan_with(Approved(), description="-changed"))
        with pytest.raises(Refused, match=f"has changed since you read it .{seen}"):
            runner.approve(signed, PHASE, seen=seen, actor=rollouts.person("grace"))

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            (plan_with(Approved(), description="-changed"), "the plan has changed since"),
            (
                plan_with(Approved(), ProbesPassed()),
                "the SQL or the gates of the phase have changed since",
            ),
        ],
    )
    def test_any_change_makes_it_void(
        self, signed: Rollout, known: Known, changed: Plan, reason: str
    ) -> None:
        approve(signed, known, "grace")
        known.use(changed)
        assert reason in refusal(signed, rollouts.person())

    def test_an_approval_expires(self, signed: Rollout, known: Known) -> None:
        approve(signed, known, "grace")
        SignOff.objects.update(expires_at=timezone.now())
        assert "no longer valid: expired at" in refusal(signed, rollouts.person())

    def test_a_withdrawn_approval_does_not_count_and_is_withdrawn_once(
        self, signed: Rollout, known: Known
    ) -> None:
        approval = approve(signed, known, "grace")
        mary = rollouts.person("mary")
        with pytest.raises(Refused, match="Say why you withdraw grace's approval"):
            runner.withdraw(approval, reason="  because ", actor=mary)
        runner.withdraw(approval, reason="The import runs tonight.", actor=mary)
        assert "withdrawn by mary" in refusal(signed, rollouts.person())
        with pytest.raises(Refused, match="mary has already withdrawn it"):
            runner.withdraw(approval, actor=rollouts.person("mary"))

    def test_an_approval_is_for_one_start(self, signed: Rollout, known: Known) -> None:
        approval = approve(signed, known, "grace")
        start(signed, "ada")
        with pytest.raises(Refused, match="was already used to start phase "):
            runner.withdraw(approval, actor=rollouts.person("grace"))
        end(signed)
        roll_back(signed)
        assert "used by an earlier start" in refusal(signed, rollouts.person())

    def test_a_run_that_stopped_continues_with_the_plan_that_was_approved_alone(
        self, signed: Rollout, known: Known
    ) -> None:
        approve(signed, known, "grace")
        run = start(signed, "ada")
        runner.cancel(signed, actor=ADA)
        assert runner.retry(signed, actor=rollouts.person()) == run
        runner.cancel(signed, actor=ADA)
        known.use(plan_with(Approved(), description="-changed"))
        with pytest.raises(Refused, match=r"The plan changed since phase 1 started\. Gate"):
            runner.retry(signed, actor=rollouts.person())
        approve(signed, known, "mary")
        assert runner.retry(signed, actor=rollouts.person()) == run

    def test_two_requests_are_one_and_an_approval_answers_it(
        self, signed: Rollout, known: Known
    ) -> None:
        asked = runner.ask_for_approval(signed, PHASE, actor=ADA)
        assert runner.ask_for_approval(signed, PHASE, actor=ADA) == asked
        assert "ada requested approval at" in refusal(signed, rollouts.person("mary"))
        approve(signed, known, "grace")
        asked.refresh_from_db()
        assert asked.withdrawn_at is not None
        with pytest.raises(Refused, match="is already approved"):
            runner.ask_for_approval(signed, PHASE, actor=ADA)

    def test_a_request_stands_again_once_the_rejection_that_answered_it_is_withdrawn(
        self, signed: Rollout, known: Known
    ) -> None:
        def answered() -> list[SignOff]:
            return list(SignOff.objects.filter(kind="request").exclude(withdrawn_at=None))

        asked = runner.ask_for_approval(signed, PHASE, actor=ADA)
        grace, seen = rollouts.person("grace"), known.plan.digest_of(PHASE)
        rejection = runner.reject(signed, PHASE, seen=seen, reason="No index yet.", actor=grace)
        assert [request.pk for request in answered()] == [asked.pk]
        runner.withdraw(rejection, actor=grace)
        assert answered() == []
        assert "ada requested approval at" in refusal(signed, rollouts.person("mary"))
        message = LogEntry.objects.get(event="rejection withdrawn").message
        assert message.endswith(" for phase 1. ada's request for approval stands again.")
        # An approval has answered it for good.
        approval = approve(signed, known, "grace")
        runner.withdraw(approval, actor=grace)
        assert [request.pk for request in answered()] == [asked.pk]

    def test_a_rejection_blocks_until_it_is_withdrawn_or_the_phase_changes(
        self, signed: Rollout, known: Known
    ) -> None:
        asked = runner.ask_for_approval(signed, PHASE, comment="It is Tuesday.", actor=ADA)
        assert asked.reason == "It is Tuesday."
        approve(signed, known, "mary")
        grace, seen = rollouts.person("grace"), known.plan.digest_of(PHASE)
        with pytest.raises(Refused, match="Say what has to change"):
            runner.reject(signed, PHASE, seen=seen, reason="no", actor=grace)
        reason = "The index is missing."
        rejection = runner.reject(signed, PHASE, seen=seen, reason=reason, actor=grace)
        assert runner.reject(signed, PHASE, seen=seen, reason=reason, actor=grace) == rejection
        # Mary's approval does not outvote it.
        assert "Rejected by grace at" in refusal(signed, rollouts.person())
        with pytest.raises(Refused, match="grace rejected phase 1: The index is missing"):
            runner.ask_for_approval(signed, PHASE, actor=rollouts.person("joan"))
        runner.withdraw(rejection, actor=grace)
        assert "rejection of" not in refusal(signed, rollouts.person("mary"))
        runner.reject(signed, PHASE, seen=seen, reason=reason, actor=grace)
        known.use(plan_with(Approved(), description="2"))
        assert "Rejected" not in refusal(signed, rollouts.person())
        events = LogEntry.objects.filter(event__contains="reject").values_list("event", flat=True)
        assert sorted(events) == ["approval rejected"] * 2 + ["rejection withdrawn"]

    def test_an_approval_takes_the_place_of_ones_own_rejection(
        self, signed: Rollout, known: Known
    ) -> None:
        grace, seen = rollouts.person("grace"), known.plan.digest_of(PHASE)
        runner.reject(signed, PHASE, seen=seen, reason="Wait for the index.", actor=grace)
        approve(signed, known, "grace")
        start(signed, "ada")

    def test_an_approval_of_a_deleted_user_does_not_count(
        self, signed: Rollout, known: Known
    ) -> None:
        approve(signed, known, "grace")
        User.objects.filter(username="grace").delete()
        assert "the account of grace no longer exists" in refusal(signed, rollouts.person())

    def test_another_environment_needs_none(self, signed: Rollout) -> None:
        staging = Rollout.objects.create(plan="signed", environment="staging")
        assert Approved.name not in {gate.name for gate in Evidence(staging, PHASE).gates}


GATE = ProbesPassed.name
REASON = "The flows were tried out by hand just now."


class TestOverrides:
    @pytest.fixture(autouse=True)
    def gate_that_does_not_pass(self, known: Known) -> None:
        known.use(plan_with(ProbesPassed()))

    def override(self, rollout: Rollout, by: str = "ada", reason: str = REASON) -> SignOff:
        return runner.override(rollout, PHASE, GATE, reason=reason, actor=rollouts.person(by))

    def test_override_with_a_reason_starts_the_phase(self, signed: Rollout) -> None:
        assert "Not run yet: " in refusal(signed, ADA)
        override = self.override(signed)
        run = runner.start(signed, PHASE, actor=ADA)
        override.refresh_from_db()
        assert override.run == run
        gate = LogEntry.objects.get(event="phase started").data["gates"][-1]
        assert gate["overridden"] == {"by": "ada", "confirmed_by": "", "reason": REASON}
        assert REASON in LogEntry.objects.get(event="gate overridden").message

    def test_an_override_is_for_one_start(self, signed: Rollout) -> None:
        self.override(signed)
        runner.start(signed, PHASE, actor=ADA)
        end(signed)
        roll_back(signed)
        assert "Not run yet: " in refusal(signed, ADA)

    @pytest.mark.parametrize("reason", ["", "   ", "because", " a  b  c  "])
    def test_an_override_without_a_reason_is_refused(self, signed: Rollout, reason: str) -> None:
        with pytest.raises(Refused, match="Give a reason of at least 10 characters"):
            self.override(signed, reason=reason)

    def test_a_second_lead_confirms_an_override_before_a_destructive_phase(
        self, signed: Rollout, known: Known
    ) -> None:
        known.use(plan_with(ProbesPassed(), destructive=True))
        override = self.override(signed, "ada")
        assert "Not run yet: " in refusal(signed, ADA)
        with pytest.raises(Refused, match="another lead must confirm it"):
            runner.confirm_override(override, actor=rollouts.person("ada"))
        with pytest.raises(Refused, match="Only a named user"):
            runner.confirm_override(override, actor=ADA)
        runner.confirm_override(override, actor=rollouts.person("grace"))
        with pytest.raises(Refused, match="grace has already confirmed this override"):
            runner.confirm_override(override, actor=rollouts.person("mary"))
        tick = SignOff.objects.create(
            rollout=signed, phase=PHASE, kind="approval", actor_name="ada", at=timezone.now()
        )
        with pytest.raises(Refused, match="this is no override"):
            runner.confirm_override(tick, actor=rollouts.person("mary"))
        assert runner.start(signed, PHASE, actor=ADA).phase == PHASE

    def test_override_before_a_phase_that_is_not_destructive_needs_nobody_else(
        self, signed: Rollout, known: Known
    ) -> None:
        known.use(plan_with(ProbesPassed()))
        override = self.override(signed, "ada")
        with pytest.raises(Refused, match="its overrides need no second lead"):
            runner.confirm_override(override, actor=rollouts.person("grace"))

    def test_two_leads_who_each_override_a_gate_have_not_confirmed_one_another(
        self, signed: Rollout, known: Known
    ) -> None:
        known.use(plan_with(ProbesPassed(), destructive=True))
        self.override(signed, "ada")
        with pytest.raises(
            Refused, match="ada already requested an override of gate “Smoke tests passed”"
        ):
            self.override(signed, "grace")

    @pytest.mark.parametrize("how", ["expired", "withdrawn", "another plan"])
    def test_an_override_that_no_longer_counts_cannot_be_confirmed(
        self, signed: Rollout, known: Known, how: str
    ) -> None:
        known.use(plan_with(ProbesPassed(), destructive=True))
        override = self.override(signed)
        if how == "expired":
            SignOff.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        elif how == "withdrawn":
            mary = rollouts.person("mary")
            runner.withdraw(override, reason="The audit is clean now.", actor=mary)
        else:
            known.use(plan_with(ProbesPassed(), destructive=True, description="-changed"))
        with pytest.raises(Refused, match="is no longer valid"):
            runner.confirm_override(override, actor=rollouts.person("grace"))
        assert "Not run yet: " in refusal(signed, ADA)

    def test_a_gate_that_cannot_be_overridden_is_not(self, signed: Rollout) -> None:
        for number, gate, why in (
            (2, "earlier phase done", "cannot be overridden"),
            (1, "earlier phase done", "passes and needs no override"),
            (1, "nonsense", "has no gate “nonsense”"),
            (7, "nonsense", "There is no phase 7"),
        ):
            with pytest.raises(Refused, match=why):
                runner.override(signed, number, gate, reason=REASON, actor=rollouts.person("ada"))

    def test_an_approval_is_given_and_never_overridden(self, signed: Rollout, known: Known) -> None:
        known.use(plan_with(Approved()))
        with pytest.raises(Refused, match="cannot be overridden"):
            runner.override(signed, PHASE, "approved", reason=REASON, actor=rollouts.person("ada"))

    def test_an_override_lets_nothing_through_while_a_run_is_active(self, signed: Rollout) -> None:
        runner.roll_back(signed, 0, actor=ADA)
        self.override(signed)
        assert "rollback of phase 0 is queued" in refusal(signed, ADA)


class TestChecklist:
    @pytest.fixture(autouse=True)
    def with_a_checklist(self, known: Known) -> None:
        item = Item(id="told", text="Everyone was told")
        known.use(replace(plan_with(ChecklistComplete()), checklist=(item,)))

    def test_a_tick_has_a_name_and_can_be_taken_back(self, signed: Rollout) -> None:
        assert "1 of 1 items open: Everyone was told." in refusal(signed, ADA)
        runner.tick(signed, "told", actor=rollouts.person("grace"))
        runner.tick(signed, "told", actor=ADA)
        (entry,) = gates.checklists.checklist_of(Evidence(signed, PHASE))
        assert entry.tick is not None
        assert entry.tick.actor_name == "grace"
        runner.untick(signed, "told", actor=ADA)
        runner.untick(signed, "told", actor=ADA)
        assert "Everyone was told" in refusal(signed, ADA)
        runner.tick(signed, "told", actor=ADA)
        assert runner.start(signed, PHASE, actor=ADA).phase == PHASE
        events = LogEntry.objects.order_by("pk").values_list("event", flat=True)
        assert list(events)[:3] == ["item ticked", "tick taken back", "item ticked"]

    def test_unknown_or_automatic_items_cannot_be_ticked(self, signed: Rollout) -> None:
        with pytest.raises(Refused, match="Items: told"):
            runner.tick(signed, "nonsense", actor=ADA)
        with pytest.raises(Refused, match="is checked automatically"):
            runner.tick(rollouts.the_rollout(), "flows-tested", actor=ADA)
