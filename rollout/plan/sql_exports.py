"""Writes the steps of any plan as SQL files, numbered and described, for people to review."""

import re
from collections.abc import Iterator
from pathlib import Path

from rollout.plan.actions import (
    EVERY_SERVER,
    NO_END,
    Action,
    CompareSchema,
    Compute,
    Fill,
    Probe,
    Proof,
    Statement,
)
from rollout.plan.errors import RolloutError
from rollout.plan.plan import Plan
from rollout.plan.sql_effects import is_destructive
from rollout.plan.step import Step

FIRST_LINE = "-- Written by `manage.py rollout sql {plan} --write`, plan version {digest}."
_WRITTEN = FIRST_LINE.partition("{")[0]


class NotOurs(RolloutError):
    """A file of that name was written by somebody; the message names it."""


def write_files(plan: Plan, directory: Path) -> list[Path]:
    """Write the files, in place of those that were written before. Raises NotOurs and OSError."""
    files = dict(_files(plan))
    there = sorted(directory.glob("*.sql"))
    for path in there:
        if not path.read_text(encoding="utf-8").startswith(_WRITTEN):
            raise NotOurs(f"{path} is somebody's own. Name another directory.")
    directory.mkdir(parents=True, exist_ok=True)
    for path in there:
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in files]


def _files(plan: Plan) -> Iterator[tuple[str, str]]:
    """Name and text of each file: the phase and the place in it are the number."""
    for number, phase in enumerate(plan.phases):
        for place, step in enumerate(phase.steps, start=1):
            name = f"{number}{place:02}_{re.sub(r'[^a-z0-9]+', '_', step.id.lower()).strip('_')}"
            yield f"{name}.up.sql", _up(plan, number, step)
            if backward := step.backward(plan):
                yield f"{name}.down.sql", _text(plan, [], backward)


def _up(plan: Plan, number: int, step: Step) -> str:
    forward = step.forward(plan)
    texts = [action.text for action in forward if isinstance(action, Statement)]
    head = [
        f"-- rollout: id: {step.id}",
        f"-- rollout: description: {step.description}",
        f"-- rollout: phase: {number}",
    ]
    if step.destructive or any(map(is_destructive, texts)):
        head.append("-- rollout: destructive")
    if step.restrictive:
        head.append("-- rollout: restrictive")
    if step.changes_write_path:
        head.append("-- rollout: changes-write-path")
    return _text(plan, head, forward)


def _text(plan: Plan, head: list[str], actions: tuple[Action, ...]) -> str:
    lines = [FIRST_LINE.format(plan=plan.name, digest=plan.digest)]
    notes = [_note(action) for action in actions if not isinstance(action, Statement)]
    lines += [*head, *([""] if head else [])]
    for action in actions:
        if isinstance(action, Statement):
            lines += [*_header(action), f"{action.text};", ""]
        else:
            lines += [*notes.pop(0), ""]
    return "\n".join(lines)


def _header(statement: Statement) -> Iterator[str]:
    if statement.done is None:
        yield "-- rollout: repeatable"
    else:
        for line in statement.done.as_string().splitlines():
            yield f"-- rollout: done: {line}"
    locks = "; ".join(f"{lock.mode.value} {lock.table}" for lock in statement.locks)
    yield f"-- rollout: locks: {locks or 'none'}"
    if statement.long:
        yield "-- rollout: long"
    if statement.scans:
        yield f"-- rollout: scans: {statement.scans}"
    if statement.generates:
        yield "-- rollout: generates"
    if statement.servers != EVERY_SERVER:
        first, end = statement.servers
        yield f"-- rollout: servers: {first or ''}-{'' if end >= NO_END else end - 1}"


def _note(action: Action) -> list[str]:
    """What is no statement, as a comment: the engine does it row by row, or only looks."""
    match action:
        case Fill() | Compute():
            comment = f"In batches while writers go on, until no row is left ({action.kind}):"
            lines = [comment, *f"{action.text};".splitlines()]
        case Proof():
            comment = "Compares every row in batches; one that differs stops the phase:"
            lines = [comment, *f"{action.text};".splitlines()]
        case Probe():
            lines = [f"Tries out {action.flow} and rolls it back."]
        case CompareSchema():
            lines = ["Compares the live schema with the plan."]
        case _:
            lines = ["Compares old and new values of every row; a mismatch stops the phase."]
    return [f"-- {line}".rstrip() for line in lines]
