"""The shell's verbs for the watchdog, and for the audit log's chain."""

import signal
import threading

from rollout.journal import activity_log
from rollout.management.verbs import DONE, AddVerb, Output
from rollout.watchdog.loop import Watchdog


def add_verbs(add: AddVerb) -> None:
    add("verify-log", verify_log, "Check the audit log's chain.", plan=False)
    add(
        "watchdog",
        watchdog,
        "Bring back the work of workers that died; runs for ever.",
        plan=False,
    )


def verify_log(out: Output) -> int:
    verdict = activity_log.verify()
    if verdict.broken is not None:
        entry = verdict.broken
        return out.say(f"Broken at entry {entry.pk} ({entry}): {verdict.reason}.", good=False)
    return out.say(f"The chain of {verdict.entries:,} entries holds. Head: {verdict.head}")


def watchdog(out: Output) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Watchdog().run(stop=stop.wait)
    return DONE
