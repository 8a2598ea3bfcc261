"""Requests for approval that nobody has answered, said again: by the watchdog or by a person."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from rollout import gates
from rollout.conf import setting
from rollout.gates import Evidence
from rollout.gates.overrides import void_reason
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database, in_words
from rollout.journal.rollouts import alone_with, plan_of
from rollout.models import SignOff, SignOffKind
from rollout.runner.addressees import from_whom

# Shortest pause between reminders by people, who would send one with each press.
SHORTEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class Policy:
    """``ROLLOUT["APPROVAL_REMINDERS"]``: when a request is repeated, and how often at most."""

    after: timedelta
    at_most: int


def policy() -> Policy:
    given = setting("APPROVAL_REMINDERS", dict[str, float]())
    hours, at_most = given.get("AFTER_HOURS", 24), given.get("AT_MOST", 3)
    return Policy(timedelta(hours=hours), int(at_most))


def due(now: datetime) -> QuerySet[SignOff]:
    """The requests whose time for a reminder has come; some may be void."""
    wanted = policy()
    requests = SignOff.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now),
        kind=SignOffKind.REQUEST,
        withdrawn_at=None,
        run=None,
        reminders__lt=wanted.at_most,
    )
    dated = requests.annotate(asked_last=Coalesce("reminded_at", "at"))
    return dated.filter(asked_last__lte=now - wanted.after).select_related("rollout")


def next_possible(request: SignOff) -> datetime:
    """From when a person may remind of a request."""
    return (request.reminded_at or request.at) + SHORTEST_PAUSE


def is_open(request: SignOff) -> bool:
    """Whether a request still waits for an answer: for the phase as it is, which has not begun."""
    evidence = Evidence(request.rollout, request.phase, plan=plan_of(request.rollout))
    began = evidence.run is not None and (evidence.run.active or gates.is_done(evidence.run))
    return not began and not void_reason(request, evidence)


def remind(request: SignOff, *, actor: Actor | None = None, source: str = "web") -> None:
    """Repeat a request that nobody has answered; without an ``actor`` it is the watchdog's turn.

    Raises Refused where it is answered, or where a person reminds again too soon.
    """
    with alone_with(request.rollout):
        request.refresh_from_db()
        if request.kind != SignOffKind.REQUEST:
            raise Refused("Only a request for approval can be repeated; this is none.")
        if not is_open(request):
            raise Refused(f"The request for phase {request.phase} is closed. Reload the page.")
        now = by_the_database()
        if actor is not None and now < (then := next_possible(request)):
            raise Refused(f"Wait until {in_words(then)} before you remind them again.")
        request.reminded_at = now
        request.reminders += actor is None
        request.save(update_fields=["reminded_at", "reminders"])
        comment = f" Comment: {request.reason}" if request.reason else ""
        activity_log.record(
            Event.APPROVAL_REMINDER,
            f"{request.actor_name} requested approval of phase {request.phase}"
            f"{from_whom(request)} at {in_words(request.at)}. Nobody has answered yet.{comment}",
            on=request,
            actor=actor or activity_log.ENGINE,
            source=source,
            addressees=request.addressees,
        )
