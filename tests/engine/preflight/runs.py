"""A plan for preflights, and what a run of one finds."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

from psycopg import sql

from rollout import plan as r
from rollout.engine import preflight
from rollout.engine.preflight import Item, Limits, Preflight
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase
from tests.engine.samples import BIGINT

PLAN = BIGINT.plan
IMPATIENT = Limits(long_transaction=timedelta(), idle_transaction=timedelta())


def run(target: Target, phase: int = 1, plan: r.Plan = PLAN, **more: object) -> Preflight:
    return preflight.run(target, plan, phase, limits=IMPATIENT, **more)  # type: ignore[arg-type]


def item(report: Preflight, name: str) -> Item:
    (finding,) = [i for i in report.items if i.name == name]
    return finding


def done_until(target: Target, connection: Connection, phases: int, plan: r.Plan = PLAN) -> None:
    for number in range(phases):
        do_phase(target, connection, plan, number)


@contextmanager
def lower_role(target: Target, connection: Connection) -> Iterator[Target]:
    """The target by way of a role that has no rights but to connect."""
    role = f"role_{uuid4().hex}"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    try:
        yield Target({**target.parameters, "user": role})
    finally:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
