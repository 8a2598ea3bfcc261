"""What the steps would stumble over in the data, and the signs of the server's health."""

from rollout.engine import hazards, health
from rollout.engine.health import Status
from rollout.engine.preflight.item import Item, Level, Scope
from rollout.engine.target import Connection
from rollout.plan.hazards import Hazard

_HEALTH = ("WAL", "transaction ids", "connections")
_HEALTH_LEVELS: dict[Status, Level] = {
    "ok": "pass",
    "throttle": "warns",
    "stop": "blocks",
    "unknown": "unknown",
}
_HEALTH_ADVICE = {
    "WAL": "Fix WAL archiving, or drop unused slots, before the disk fills.",
    "transaction ids": "Wait for vacuum to catch up.",
    "connections": "Free up connection slots.",
}


def hazards_of(scope: Scope) -> list[Hazard]:
    """The questions of the phase's steps, each once."""
    seen: dict[str, Hazard] = {}
    for step in scope.plan.phases[scope.phase].steps:
        for hazard in step.hazards(scope.plan):
            seen.setdefault(hazard.name, hazard)
    return list(seen.values())


def hazard(connection: Connection, question: Hazard) -> Item:
    """Ask the data. Raises UndefinedTable and UndefinedColumn where it cannot be asked yet."""
    evidence = hazards.finding(connection, question)
    if not evidence:
        return Item(question.name, "pass", question.none)
    return Item(question.name, "blocks" if question.blocks else "warns", evidence, question.advice)


def health_items(connection: Connection, scope: Scope) -> list[Item]:
    """The signs that slow a backfill down, as they are before it begins."""
    if not scope.plan.tables:
        return []
    return [
        Item(
            signal.name,
            _HEALTH_LEVELS[signal.status],
            signal.reason,
            "" if signal.status == "ok" else _HEALTH_ADVICE[signal.name],
        )
        for signal in health.read_signals(connection, scope.plan.tables[0])
        if signal.name in _HEALTH
    ]
