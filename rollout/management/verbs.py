"""What the shell's verbs have in common: how one is added and called, and how it answers."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

from django.core.management.base import OutputWrapper
from django.db import models

from rollout.journal.environments import DEFAULT
from rollout.journal.heartbeats import liveness
from rollout.models import Rollout
from rollout.queries.status import find_rollout

DONE, NO, ERROR, WARNED = 0, 1, 2, 3


@dataclass(frozen=True)
class Output:
    """Where a verb answers. Each way of answering gives the exit status that goes with it."""

    texts: OutputWrapper
    """For people."""
    data: OutputWrapper
    """For files and programs."""
    errors: OutputWrapper

    def say(self, text: str, *, good: bool = True) -> int:
        self.texts.write(text)
        return DONE if good else NO

    def say_json(self, value: Any, *, good: bool = True) -> int:
        return self.say(json.dumps(value, indent=2, ensure_ascii=False), good=good)

    def complain(self, text: str) -> int:
        """It was used wrongly, or there is nothing to answer with."""
        self.errors.write(text)
        return ERROR


UNTIL_FINISHED = "wait until it finishes"
BY_A_WORKER = (
    "have a worker do it, and wait until it finishes (default: this process does it, and finishes)"
)

Verb = Callable[..., int]
"""Gets the ``Output``, and by their names those options that it has parameters for; a parameter
``rollout`` is the rollout that the options name. Gives the exit status."""
AddVerb = Callable[..., ArgumentParser]


def adding(verbs: Any) -> AddVerb:
    """What adds a verb to a command's subparsers."""

    def add(
        name: str,
        run: Verb,
        help: str,
        *,
        example: str,
        no: str = "",
        plan: bool | str = True,
        as_json: bool = False,
        waits: str = "",
    ) -> ArgumentParser:
        """``example`` is what may follow ``rollout``, ``no`` when the exit status is 1 besides a
        refusal. ``waits`` is the help of ``--wait``."""
        sub: ArgumentParser = verbs.add_parser(
            name, help=help, description=help, epilog=f"Example: manage.py rollout {example}"
        )
        sub.set_defaults(run=run, no=no)
        sub.add_argument("--log", action="store_true", help="show log lines too, on standard error")
        if plan:
            sub.add_argument(
                "plan", nargs="?" if plan == "optional" else None, help="name of the plan"
            )
        if plan is not False:
            sub.add_argument("--env", default=DEFAULT, help="the environment (%(default)s)")
        if as_json:
            sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
        if waits:
            sub.add_argument("--wait", action="store_true", help=waits)
        return sub

    return add


def carry_out(run: Verb, out: Output, options: dict[str, Any]) -> int:
    """Call a verb with what it asks for; its exit status."""
    asked = signature(run).parameters
    if "rollout" in asked:
        options = {**options, "rollout": find_rollout(options["plan"], options["env"])}
    return run(out, **{name: value for name, value in options.items() if name in asked})


def names_of(rollout: Rollout) -> dict[str, str]:
    """For ``--json``."""
    return {"plan": rollout.plan, "environment": rollout.environment}


def wait_while(
    is_active: Callable[[], bool],
    job: models.Model,
    out: Output,
) -> None:
    """Wait for a job; complain once when a process that it needs is missing."""
    complaint = ""
    while is_active():
        message = liveness().message
        if message and message != complaint:
            out.complain(message)
            complaint = message
        time.sleep(0.3)
        job.refresh_from_db()
