"""The shell's verbs for the watchdog, and for the audit log's chain."""

import signal
import threading

from rollout.journal import activity_log
from rollout.management.verbs import DONE, AddVerb, Output
from rollout.watchdog.loop import Watchdog


def add_verbs(add: AddVerb) -> None:
    add(
        "verify-log",
        verify_log,
        "Verify the hash chain of the activity log, and print its head.",
        example="verify-log",
        no="the chain is broken",
        plan=False,
    )
    runs = add(
        "watchdog",
        watchdog,
        "Run the watchdog, which recovers work from lost workers, until SIGTERM.",
        example="watchdog",
        plan=False,
    )
    # What it has to tell is in its log.
    runs.set_defaults(log=True)


def verify_log(out: Output) -> int:
    verdict = activity_log.verify()
    if verdict.broken is not None:
        entry = verdict.broken
        return out.say(
            f"Hash chain broken at entry {entry.pk} ({entry}): {verdict.reason}.", good=False
        )
    return out.say(f"Hash chain OK. Entries: {verdict.entries:,}. Head: {verdict.head}")


def watchdog(out: Output) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Watchdog().run(stop=stop.wait)
    return DONE
