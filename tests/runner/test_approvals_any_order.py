"""No start without a valid approval, in whatever order people act."""

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from rollout import gates, runner
from rollout.gates import Evidence
from rollout.models import PhaseRun, Rollout, RunState, SignOff
from rollout.plan import Approved
from rollout.runner import Refused
from tests.runner.signed_plans import LEADS, PHASE, Known, digest, end, plan_with, roll_back
from tests.support import rollouts
from tests.support.rollouts import ADA

pytestmark = pytest.mark.usefixtures("nothing_is_in_the_way")


class Approving(RuleBasedStateMachine):
    """Whatever people do in whatever order, no start without another lead's valid approval.

    The model keeps what each lead said last, and what it was about.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known = Known()
        self.rollout, _ = Rollout.objects.get_or_create(plan="signed", environment="production")
        SignOff.objects.filter(rollout=self.rollout).delete()
        PhaseRun.objects.filter(rollout=self.rollout).delete()
        PhaseRun.objects.create(
            rollout=self.rollout,
            phase=0,
            state=RunState.DONE,
            actor_name="ada",
            finished_at=timezone.now(),
        )
        self.versions = 0
        self.given: dict[str, SignOff] = {}
        self.valid: dict[str, bool] = {}
        self.rejected: dict[str, SignOff] = {}
        self.running = False

    @rule(who=st.sampled_from(LEADS), reads_now=st.booleans())
    def approve(self, who: str, reads_now: bool) -> None:
        if self.running:
            return
        seen = digest(self.known) if reads_now else "0123456789ab"
        try:
            approval = runner.approve(self.rollout, PHASE, seen=seen, actor=rollouts.person(who))
        except Refused:
            assert not reads_now
            return
        self.given[who], self.valid[who] = approval, True
        self.rejected.pop(who, None)

    @rule(who=st.sampled_from(LEADS))
    def reject(self, who: str) -> None:
        if not self.running:
            self.rejected[who] = runner.reject(
                self.rollout,
                PHASE,
                seen=digest(self.known),
                reason="The index is missing.",
                actor=rollouts.person(who),
            )
            self.valid[who] = False

    @rule(who=st.sampled_from(LEADS), by=st.sampled_from(LEADS))
    def withdraw_rejection(self, who: str, by: str) -> None:
        if who in self.rejected:
            rejection = self.rejected.pop(who)
            runner.withdraw(rejection, reason="It is there now.", actor=rollouts.person(by))

    @rule(who=st.sampled_from(LEADS), by=st.sampled_from(LEADS))
    def withdraw(self, who: str, by: str) -> None:
        if who in self.given:
            try:
                runner.withdraw(
                    self.given[who], reason="It is not there.", actor=rollouts.person(by)
                )
            except Refused:
                return
            self.valid[who] = False

    @rule(who=st.sampled_from(LEADS))
    def expire(self, who: str) -> None:
        if who in self.given:
            SignOff.objects.filter(pk=self.given[who].pk).update(
                expires_at=timezone.now() - timedelta(seconds=1)
            )
            self.valid[who] = False

    @rule()
    def change_the_plan(self) -> None:
        if not self.running:
            self.versions += 1
            self.known.use(plan_with(Approved(), description=f"-{self.versions}"))
            self.valid, self.rejected = {}, {}

    @rule(who=st.sampled_from((*LEADS, "the shell")))
    def start(self, who: str) -> None:
        if self.running:
            return
        actor = ADA if who == "the shell" else rollouts.person(who)
        by_another = not self.rejected and any(
            good for lead, good in self.valid.items() if lead != who
        )
        try:
            runner.start(self.rollout, PHASE, actor=actor)
        except Refused:
            assert not by_another or who == "the shell"
            return
        assert by_another
        assert who != "the shell"
        self.running = True

    @rule()
    def come_back(self) -> None:
        if self.running:
            end(self.rollout)
            roll_back(self.rollout)
            self.running, self.valid = False, {}

    @invariant()
    def the_page_says_whether_it_may_start(self) -> None:
        if not self.running:
            passes = gates.check_gate(Approved(), Evidence(self.rollout, PHASE)).lets_through
            assert passes == (any(self.valid.values()) and not self.rejected)

    def teardown(self) -> None:
        self.known.forget()


@pytest.mark.slow
class TestAnyOrder(TestCase):
    def test_no_start_without_another_leads_valid_approval(self) -> None:
        run_state_machine_as_test(
            Approving,
            settings=settings(
                max_examples=15, stateful_step_count=15, suppress_health_check=list(HealthCheck)
            ),
        )
