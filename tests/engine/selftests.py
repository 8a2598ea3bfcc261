"""Self-tests of samples, and what they leave."""

from typing import Any

from rollout.engine.selftest import SelftestResult, run_selftest
from rollout.engine.selftest.fixture_databases import scratch_name
from rollout.engine.target import Connection, Target
from rollout.plan import Plan
from tests.engine.samples import BIGINT, DIRTY, Sample

# Categories that only a Convert has.
OF_CONVERSIONS = {"lossy", "unconvertible", "undecided"}


def no_function(path: str) -> Any:
    raise AssertionError(f"{path} is no function of this plan")


def tried(target: Target, plan: Plan = BIGINT.plan, **how: Any) -> SelftestResult:
    return run_selftest(target, plan, **{"function_of": no_function, **how})


def is_gone(connection: Connection, pid: int) -> bool:
    sessions = connection.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid])
    return sessions.fetchone() is None


def legacy(connection: Connection, sample: Sample = BIGINT, rows: int = 400) -> None:
    sample.create(connection)
    for number in range(rows):
        sample.insert(
            connection,
            number,
            kind=DIRTY[number % len(DIRTY)],
            state=("Open", None, "sold", " ")[number % 4],
        )


def scratch_databases(connection: Connection) -> list[Any]:
    """Those of this database: others' tests make their own on the same server."""
    name = scratch_name(connection.info.dbname)
    return connection.execute(
        "SELECT datname FROM pg_database WHERE datname = %s", [name]
    ).fetchall()
