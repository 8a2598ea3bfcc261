"""The activity log: append-only, each entry's hash covering the one before it."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from django.utils import timezone

from rollout import journal
from rollout.journal.actors import Actor
from rollout.journal.events import OF_STARTS, Event
from rollout.models import LogEntry, PhaseRun, Rollout

_log = logging.getLogger("rollout.journal")

# The actor of what nobody asked for.
ENGINE = "engine"
GENESIS = "0" * 64
_LOCK = 0x526F6C6C6F7574  # "Rollout": one writer at a time, so that the chain has one end.


class Logged(Protocol):
    """What entries can be about."""

    @property
    def rollout(self) -> Rollout: ...

    def log_data(self) -> dict[str, Any]:
        """What each entry about it keeps."""


def digest(entry: LogEntry) -> str:
    """The hash of an entry's content and of the hash before it."""
    content = [
        entry.at.isoformat(timespec="microseconds"),
        entry.actor,
        entry.source,
        entry.plan,
        entry.environment,
        entry.phase,
        entry.event,
        entry.message,
        entry.data,
        entry.previous_hash,
    ]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def record(
    event: Event,
    message: str,
    *,
    actor: Actor | str,
    source: str,
    on: Rollout | Logged | None = None,
    phase: int | None = None,
    **data: Any,
) -> LogEntry:
    """Append an entry, in the caller's transaction if there is one.

    ``on`` is what it happened to: its rollout and its phase stand in the entry, and its
    ``log_data()`` beside ``data``.
    """
    rollout = on if on is None or isinstance(on, Rollout) else on.rollout
    if on is not None and not isinstance(on, Rollout):
        data = {**on.log_data(), **data}
        phase = getattr(on, "phase", None) if phase is None else phase
    with journal.atomic():
        with journal.connection().cursor() as cursor:
            cursor.execute(
                # Should this machine be cut off meanwhile, nobody waits for the lock for long.
                "SELECT pg_advisory_xact_lock(%s),"
                " set_config('idle_in_transaction_session_timeout', '10s', true)",
                [_LOCK],
            )
        last = LogEntry.objects.order_by("-id").values_list("hash", flat=True).first()
        entry = LogEntry(
            at=timezone.now(),
            actor=actor if isinstance(actor, str) else actor.get_username(),
            source=source,
            plan=rollout.plan if rollout else "",
            environment=rollout.environment if rollout else "",
            phase=phase,
            event=str(event),
            message=message.replace("\x00", ""),
            data=data,
            previous_hash=last or GENESIS,
        )
        entry.hash = digest(entry)
        entry.save()
    journal.on_commit(partial(_tell, entry))
    return entry


def last_actor(*events: Event, rollout: Rollout, **data: int) -> str:
    """The actor of the last of these events, with ``run=7`` for example; the engine if none."""
    entries = LogEntry.objects.filter(
        plan=rollout.plan,
        environment=rollout.environment,
        event__in=events,
        **{f"data__{name}": value for name, value in data.items()},
    )
    # In the index's order: by the number alone the whole log would be read.
    newest = entries.order_by("plan", "environment", "-id").values_list("actor", flat=True)
    return newest.first() or ENGINE


def attempted_by(run: PhaseRun) -> str:
    """Who a run works for now: who retried it last, else who started it."""
    name = last_actor(Event.RETRIED, *OF_STARTS, rollout=run.rollout, run=run.pk)
    return run.actor_name if name == ENGINE else name


def _tell(entry: LogEntry) -> None:
    """Repeat an entry in the process's own log."""
    known: dict[str, Any] = {
        name: entry.data[name] for name in ("run", "step", "job") if name in entry.data
    }
    _log.info(
        entry.message,
        extra=known
        | {
            "event": entry.event,
            "entry": entry.pk,
            "actor": entry.actor,
            "plan": entry.plan,
            "environment": entry.environment,
            "phase": entry.phase,
        },
    )


@dataclass(frozen=True)
class Verdict:
    """Whether the chain holds: the entries read, and the first that breaks it, with the reason.

    ``last`` and ``head`` are the last entry that was verified, and its hash.
    """

    entries: int
    broken: LogEntry | None = None
    reason: str = ""
    head: str = GENESIS
    last: int = 0


def verify(
    entries: Iterable[LogEntry] | None = None, *, after: int = 0, head: str = GENESIS
) -> Verdict:
    """Read entries in order, up to the first that breaks the chain; by default the whole log.

    ``head`` is the hash of ``after``, the entry before the first of them.
    """
    number = 0
    for number, entry in enumerate(_in_order() if entries is None else entries, start=1):
        if entry.previous_hash != head:
            reason = "a previous entry was removed or inserted"
            return Verdict(number, entry, reason, head, after)
        if entry.hash != digest(entry):
            return Verdict(number, entry, "its content was changed", head, after)
        after, head = entry.pk, entry.hash
    return Verdict(number, head=head, last=after)


def _in_order() -> Iterator[LogEntry]:
    return LogEntry.objects.order_by("id").iterator(chunk_size=2000)
