"""What the tests share: one PostgreSQL for the run, and databases and processes for one test."""

import compileall
import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import django
import hypothesis
import pytest

from config import embedded, garbage
from config.home import ROOT, Home
from tests import WRITES_NO_BYTECODE
from tests.support.asserts import rewrite_asserts
from tests.support.intervals import QUICK_WATCHDOG
from tests.support.processes import Running, manage_process, stopped_after, web_server
from tests.support.servers import (
    Database,
    OwnServer,
    TestServer,
    database_of_its_own,
    migrated_template,
)

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker

    from rollout.models import Rollout, Snapshot
    from tests.support.rollouts import Cli

# Fixtures: `target`, `connection` and `app` of tests without the site; `scenario` on a database
# made from a team's SQL; `empty_staging`; `viewer`, `engineer`, `lead` and `reviewer`, who have a
# browser each. And how a run's workers share the groups of tests.
pytest_plugins = [
    "tests.support.bare_databases",
    "tests.support.heartbeats",
    "tests.support.lanes",
    "tests.support.scenarios",
    "tests.support.staging",
    "tests.support.visitors",
]
SERVER = pytest.StashKey[TestServer]()
# A busy machine takes long for an example that is right.
hypothesis.settings.register_profile("rollout", deadline=None)
hypothesis.settings.load_profile("rollout")
# The markers of groups of tests: what `make test-fast` leaves out.
MARKER_OF_GROUP = {
    "in_browser": "browser",
    "crashes": "crash",
    "chaos": "crash",
    "faults": "crash",
    "bench": "bench",
    "processes": "slow",
    "rehearsals": "slow",
    "wheel": "slow",
    "hosts": "slow",
    "end to end": "slow",
    "demo": "slow",
    "of its own": "slow",
}


def pytest_configure(config: pytest.Config) -> None:
    """Starts the server before Django reads its settings; xdist's workers inherit its address."""
    if not hasattr(config, "workerinput"):
        _compile()
        if config.getoption("numprocesses", None):
            rewrite_asserts(config)
        _start_server(config)
    django.setup()
    _hash_passwords_fast()
    if hasattr(config, "workerinput"):
        _take_a_home_of_its_own(config.workerinput["workerid"])


# Databases of a test's own, in which phases are run.
SLOW_FIXTURES = {"committed_db", "scenario"}
# A database that each of a hypothesis test's many examples fills.
FILLED_BY_EXAMPLES = {"db", "target"}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects tests without collecting garbage: all that is made here stays to the end.

    Afterwards garbage is looked for as seldom as in a web process.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = WRITES_NO_BYTECODE
        gc.freeze()
        gc.set_threshold(*garbage.THRESHOLDS)
        gc.enable()


# Before pytest selects by markers.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test the marker of its group, or of what it asks for."""
    for item in items:
        group = item.get_closest_marker("xdist_group")
        if group is not None and (marker := MARKER_OF_GROUP.get(group.args[0])):
            item.add_marker(marker)
            continue
        asks_for = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("django_db"):
            asks_for.add("db")
        slow = SLOW_FIXTURES
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            slow = slow | FILLED_BY_EXAMPLES
        if slow & asks_for:
            item.add_marker("slow")


def _compile() -> None:
    """Compiles the site once, so that none of the hundreds of processes of a run does it again.

    Where PYTHONDONTWRITEBYTECODE is set, as in many a container, each would.
    """
    for package in ("config", "offers", "properties", "rollout"):
        # With all cores: nothing else can begin meanwhile.
        compileall.compile_dir(ROOT / package, quiet=2, workers=0)


def _hash_passwords_fast() -> None:
    """One round instead of a million; how many it were stands in each hash, for other processes."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    PBKDF2PasswordHasher.iterations = 1


def _take_a_home_of_its_own(worker: str) -> None:
    """What one worker's tests put into a storage is none of another's business.

    Its processes read the environment; this one has read it already.
    """
    from django.conf import settings

    home = Path(os.environ["ROLLOUT_HOME"]) / worker
    home.mkdir(exist_ok=True)
    os.environ["ROLLOUT_HOME"] = str(home)
    own = Home.from_environ(os.environ)
    settings.MEDIA_ROOT = own.media
    storages: dict[str, Any] = settings.STORAGES
    storages["snapshots"]["OPTIONS"]["location"] = own.snapshots


def _start_server(config: pytest.Config) -> None:
    # So that a run ended by SIGTERM leaves no server behind either.
    signal.signal(signal.SIGTERM, _interrupt)
    config.stash[SERVER] = server = TestServer()
    server.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(SERVER, None):
        server.stop()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def template(django_test_environment: None) -> str:
    """The name of the migrated database that this run's databases are copies of."""
    return migrated_template()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, template: str
) -> None:
    """pytest-django's test database is a copy too: no worker migrates for itself."""
    from django.db import connections

    connections["default"].settings_dict["TEST"]["TEMPLATE"] = template


# Fixtures of the property rollout that find so many phases done in the database of their test.
PHASES_DONE = {
    "properties": 0,
    "prepared": 1,
    "expanded": 2,
    "filled": 3,
    "enforced": 4,
    "contracted_elsewhere": 5,
    "contracted": 5,
}


@pytest.fixture
def beginning(
    template: str, request: pytest.FixtureRequest, django_db_blocker: "DjangoDbBlocker"
) -> str:
    """The name of the database that `committed_db` is a copy of."""
    asked_for = [name for name in PHASES_DONE if name in request.fixturenames]
    if not asked_for:
        return template
    from tests.support import rollouts

    with django_db_blocker.unblock():
        return rollouts.listings_template(template, phases=PHASES_DONE[asked_for[-1]])


@pytest.fixture
def committed_db(beginning: str, django_db_blocker: "DjangoDbBlocker") -> Iterator[Database]:
    """A migrated database of the test's own, in which commits are real.

    For what needs several connections or processes. Not to be used together with `db`: it takes
    the place of the default database, and is dropped afterwards.
    """
    with django_db_blocker.unblock(), database_of_its_own(beginning) as database:
        yield database


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    """A PostgreSQL of the test's own, that it can crash."""
    data = tmp_path / "postgres"
    try:
        server = OwnServer(data)
        yield server
        server.hang_up()
    finally:
        embedded.remove(data)


@pytest.fixture
def rollout(db: None) -> "Rollout":
    """The property rollout, with nothing done yet."""
    from tests.support import rollouts

    return rollouts.the_rollout()


@pytest.fixture
def bare(committed_db: Database) -> "Rollout":
    """The property rollout with nothing done and no listing, where commits are real."""
    from tests.support import rollouts

    return rollouts.the_rollout()


@pytest.fixture
def properties(bare: "Rollout") -> "Rollout":
    """The property rollout over a few hundred listings."""
    return bare


@pytest.fixture
def prepared(bare: "Rollout") -> "Rollout":
    """The same at the end of phase 0."""
    return bare


@pytest.fixture
def expanded(bare: "Rollout") -> "Rollout":
    """The same at the end of phase 1."""
    return bare


@pytest.fixture
def filled(bare: "Rollout") -> "Rollout":
    """The same at the end of phase 2."""
    return bare


@pytest.fixture
def enforced(bare: "Rollout") -> "Rollout":
    """The same at the end of phase 3."""
    return bare


@pytest.fixture
def contracted(bare: "Rollout") -> "Rollout":
    """The same at the end of phase 4."""
    return bare


@pytest.fixture
def snapshot(properties: "Rollout") -> "Snapshot":
    """A verified snapshot of those listings."""
    from tests.support import rollouts

    return rollouts.snapshot_of(properties)


@pytest.fixture
def media(tmp_path: Path, settings: Any) -> Path:
    """Where the default storage keeps the files of one test."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def own_plans() -> Iterator[None]:
    """The plans that a test registers are known to nobody else."""
    from rollout.plan import plans

    before = list(plans._plans)
    yield
    plans._plans[:] = before


@pytest.fixture
def tiny(committed_db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator["Rollout"]:
    """A rollout whose phases change nothing and take no time."""
    from rollout.worker import leases
    from tests.support import rollouts

    monkeypatch.setattr(leases, "LOOK_EVERY", 0.01)
    with rollouts.tiny_plan() as plan:
        yield rollouts.the_rollout(plan.name)


@pytest.fixture
def clean_storage() -> Iterator[None]:
    """The tests of one worker share a storage: dumps that others left there count for nothing."""
    from tests.support.storages import stored

    for path in stored():
        path.unlink()
    yield
    for path in stored():
        path.unlink()


@pytest.fixture
def no_environment_is_left(committed_db: Database) -> Iterator[None]:
    """Drops the databases that a test had made on the server of its own."""
    from rollout.models import Environment, EnvironmentState
    from rollout.worker import databases

    yield
    for made in Environment.objects.filter(server="").exclude(state=EnvironmentState.GONE):
        databases.drop(made)


@pytest.fixture
def short_plan(prepared: "Rollout", monkeypatch: pytest.MonkeyPatch) -> "Snapshot":
    """A rehearsed plan that ends with phase 1, where production has done phase 0; nobody waits."""
    from rollout.worker import rehearsals
    from tests.support import rollouts

    monkeypatch.setattr(rehearsals, "CONTRACT", 1)
    monkeypatch.setattr(rehearsals, "BETWEEN_SECONDS", 0.1)
    monkeypatch.setattr(rehearsals, "BASELINE_SECONDS", 0.3)
    return rollouts.snapshot_of(prepared)


@pytest.fixture
def cli(committed_db: Database, capsys: pytest.CaptureFixture[str]) -> "Cli":
    """Runs ``manage.py rollout`` as a shell does: exit status, output, errors."""
    from rollout.management.commands.rollout import Command

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            Command().run_from_argv(["manage.py", "rollout", *arguments])
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def qcluster(committed_db: Database, tmp_path: Path) -> Iterator[Running]:
    """A real queue cluster that works on `committed_db`."""
    log = tmp_path / "qcluster.log"
    with stopped_after(
        manage_process("qcluster", env=committed_db.env(LOG_LEVEL="INFO"), log=log)
    ) as cluster:
        cluster.wait_for(lambda: "running" in cluster.output())
        yield cluster


@pytest.fixture
def watchdog(committed_db: Database, tmp_path: Path) -> Iterator[Running]:
    """A real watchdog over `committed_db`, which looks more often than a site's."""
    log = tmp_path / "watchdog.log"
    with stopped_after(
        manage_process("rollout", "watchdog", env=committed_db.env(**QUICK_WATCHDOG), log=log)
    ) as process:
        yield process


@pytest.fixture
def web(committed_db: Database, tmp_path: Path) -> Iterator[str]:
    """The address (`http://127.0.0.1:port`) of a real web server over `committed_db`."""
    with web_server(committed_db.env(SERVE_MEDIA="1"), log=tmp_path / "web.log") as address:
        yield address
