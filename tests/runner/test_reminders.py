"""Requests for approval have addressees and a comment, and are repeated while nobody answers."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.utils import timezone

from rollout import runner
from rollout.models import Channel, Delivery, LogEntry, PhaseRun, Rollout, SignOff
from rollout.notifications import deliveries
from rollout.plan import Approved, plans
from rollout.runner import Refused
from rollout.watchdog import reminders
from tests.runner.signed_plans import PHASE, Known, plan_with
from tests.support import rollouts
from tests.support.rollouts import ADA

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def two_leads(known: Known) -> None:
    known.use(plan_with(Approved(valid_for=7 * DAY)))
    for name in ("grace", "mary"):
        user = User.objects.create_user(name, email=f"{name}@example.org")
        user.groups.add(Group.objects.get(name="lead"))


def ask(rollout: Rollout, *to: str, comment: str = "") -> SignOff:
    return runner.ask_for_approval(rollout, PHASE, to=to, comment=comment, actor=ADA)


def waited(request: SignOff, time: timedelta) -> None:
    """So much time has passed since somebody was told."""
    moment = timezone.now() - time
    SignOff.objects.filter(pk=request.pk).update(at=moment)
    SignOff.objects.filter(pk=request.pk).exclude(reminded_at=None).update(reminded_at=moment)


def reminded() -> list[str]:
    entries = LogEntry.objects.filter(event="approval reminder").order_by("pk")
    return [entry.message for entry in entries]


def test_a_request_names_its_addressees_in_the_log_and_in_the_mail(signed: Rollout) -> None:
    request = ask(signed, "mary", "grace", comment="It is Tuesday.")
    assert (request.addressees, request.reason) == (["grace", "mary"], "It is Tuesday.")
    entry = LogEntry.objects.get(event="approval asked for")
    message = f"Requested approval of phase {PHASE} from grace and mary. Comment: It is Tuesday."
    assert entry.message == message
    while deliveries.collect():
        pass
    mails = Delivery.objects.filter(entry=entry, channel=Channel.EMAIL)
    assert sorted(mails.values_list("recipient", flat=True)) == ["grace", "mary"]


def test_a_rejection_that_another_lead_withdraws_is_told_to_its_author_by_mail(
    signed: Rollout, known: Known
) -> None:
    grace, seen = rollouts.person("grace"), known.plan.digest_of(PHASE)
    for by in (grace, rollouts.person("mary")):
        rejection = runner.reject(signed, PHASE, seen=seen, reason="No index yet.", actor=grace)
        runner.withdraw(rejection, reason="The index is there.", actor=by)
    while deliveries.collect():
        pass
    mail = Delivery.objects.get(channel=Channel.EMAIL)
    assert (mail.recipient, mail.entry.actor) == ("grace", "mary")
    withdrawn = f"Withdrew grace's rejection for phase {PHASE}: The index is there."
    assert mail.entry.message == withdrawn


def test_a_request_to_all_goes_to_nobody_who_did_not_choose_such_news(signed: Rollout) -> None:
    ask(signed)
    assert LogEntry.objects.get(event="approval asked for").message.endswith(f"phase {PHASE}.")
    while deliveries.collect():
        pass
    assert not Delivery.objects.filter(channel=Channel.EMAIL).exists()


@pytest.mark.parametrize("name", ["nobody", "viewer", "gone", "ada"])
def test_nobody_is_asked_who_may_not_approve(signed: Rollout, name: str) -> None:
    if name == "viewer":
        User.objects.create_user(name).groups.add(Group.objects.get(name="viewer"))
    if name == "gone":
        gone = User.objects.create_user(name, is_active=False)
        gone.groups.add(Group.objects.get(name="lead"))
    with pytest.raises(Refused, match=f"Not asked: {name}. .*: grace, mary"):
        ask(signed, "grace", name)
    assert not SignOff.objects.exists()


def test_a_lead_of_the_environment_and_a_superuser_are_asked_too(signed: Rollout) -> None:
    of_production = User.objects.create_user("olga")
    of_production.groups.add(Group.objects.get(name="lead:production"))
    User.objects.create_superuser("root")
    assert ask(signed, "olga", "root").addressees == ["olga", "root"]


def test_other_addressees_replace_the_request_and_none_leave_it(signed: Rollout) -> None:
    first = ask(signed, "grace", comment="It is Tuesday.")
    assert ask(signed, "grace", comment="It is Tuesday.") == ask(signed) == first
    second = ask(signed, "mary")
    assert second != first
    first.refresh_from_db()
    assert first.withdrawn_at is not None


def test_a_request_is_repeated_after_a_day_and_so_often(
    signed: Rollout, settings: LazySettings
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "APPROVAL_REMINDERS": {"AT_MOST": 2}}
    request = ask(signed, "grace", comment="It is Tuesday.")
    reminders.send_due()
    waited(request, DAY - timedelta(minutes=1))
    reminders.send_due()
    assert reminded() == []
    for _ in range(4):
        waited(request, DAY)
        reminders.send_due()
        reminders.send_due()
    assert len(reminded()) == 2
    assert f"approval of phase {PHASE} from grace at " in reminded()[0]
    assert reminded()[0].endswith("Nobody has answered yet. Comment: It is Tuesday.")
    request.refresh_from_db()
    assert request.reminded_at is not None
    assert LogEntry.objects.filter(event="approval reminder").first().actor == "engine"  # type: ignore[union-attr]


def withdrawn(request: SignOff) -> None:
    runner.withdraw(request, actor=ADA)


def approved(request: SignOff) -> None:
    seen = request.phase_digest
    runner.approve(request.rollout, PHASE, seen=seen, actor=rollouts.person("grace"))


def rejected(request: SignOff) -> None:
    grace, seen = rollouts.person("grace"), request.phase_digest
    runner.reject(request.rollout, PHASE, seen=seen, reason="It is Friday.", actor=grace)


def superseded(request: SignOff) -> None:
    SignOff.objects.filter(pk=request.pk).update(phase_digest="another")


def expired(request: SignOff) -> None:
    SignOff.objects.filter(pk=request.pk).update(expires_at=timezone.now())


def begun(request: SignOff) -> None:
    PhaseRun.objects.create(
        rollout=request.rollout, phase=PHASE, actor_name="ada", plan_digest=request.plan_digest
    )


@pytest.mark.parametrize("answer", [withdrawn, approved, rejected, superseded, expired, begun])
def test_answered_or_withdrawn_requests_are_not_repeated(signed: Rollout, answer: object) -> None:
    request = ask(signed, "grace")
    waited(request, DAY)
    assert callable(answer)
    answer(request)
    reminders.send_due()
    assert reminded() == []
    with pytest.raises(Refused):
        runner.remind(request, actor=ADA)


def test_a_person_reminds_once_an_hour(signed: Rollout) -> None:
    request = ask(signed, "grace")
    with pytest.raises(Refused, match="Wait until"):
        runner.remind(request, actor=ADA)
    waited(request, timedelta(hours=1))
    runner.remind(request, actor=ADA)
    with pytest.raises(Refused, match="Wait until"):
        runner.remind(request, actor=ADA)
    assert len(reminded()) == 1
    # Those of people are none of the watchdog's.
    assert request.reminders == 0


def test_an_approval_is_no_request_to_repeat(signed: Rollout) -> None:
    approval = runner.approve(
        signed, PHASE, seen=plans.get("signed").digest_of(PHASE), actor=rollouts.person("grace")
    )
    with pytest.raises(Refused, match="this is none"):
        runner.remind(approval, actor=ADA)
