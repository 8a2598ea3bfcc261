"""The demo's scenes: each is set by the console's own verbs, beside a worker and a watchdog."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from config.prepare import make_people
from config.variables import FRESH, SCENES
from tests.support import rollouts
from tests.support.demo_sites import demo_template
from tests.support.processes import manage_process, stopped_after
from tests.support.servers import Database, database_of_its_own

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker

pytestmark = pytest.mark.xdist_group("demo")

# What the journal says then.
STATES = {
    "backfilling": "SELECT state = 'running' FROM rollout_phaserun WHERE phase = 2",
    "mismatches": "SELECT bool_or(mode = 'full' AND mismatched = 47) FROM rollout_auditreport",
    "blocked": "SELECT waiting_for <> '' OR activity IS NOT NULL FROM rollout_steprun "
    "WHERE state = 'running'",
    "contract": "SELECT count(*) = 4 AND bool_and(state = 'done') FROM rollout_phaserun",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCENES if name != FRESH])
def test_a_scene_is_set(
    template: str, django_db_blocker: "DjangoDbBlocker", tmp_path: Path, name: str
) -> None:
    with django_db_blocker.unblock(), database_of_its_own(demo_template(template)) as database:
        rollouts.load_listings(5_000)
        make_people("of-this-scene")
        env = database.env(
            DEMO="1", BACKFILL_ROWS_PER_SECOND="1000" if name == "backfilling" else "0"
        )
        play = ("shell", "-c", f"from config.scenes import play; play({name!r})")
        with (
            stopped_after(manage_process("qcluster", env=env, log=tmp_path / "worker.log")),
            stopped_after(manage_process("rollout", "watchdog", env=env, log=tmp_path / "dog.log")),
            stopped_after(manage_process(*play, env=env, log=tmp_path / "scene.log")) as scene,
        ):
            scene.wait_for(lambda: "Scene ready: /rollout/" in scene.output(), seconds=120)
            assert is_so(database, STATES[name]), scene.output()


def is_so(database: Database, question: str) -> bool:
    with psycopg.connect(database.url) as connection:
        answer = connection.execute(question.encode()).fetchone()
    return answer == (True,)


def test_the_audit_of_a_scene_begins_once_the_scheduled_sample_has_ended(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from config import scenes
    from rollout.models import AuditReport
    from tests.console import journal

    make_people("of-this-scene")
    for phase in range(3):
        journal.ran(journal.the_rollout(), phase)
    journal.audited(journal.the_rollout(), "running", mode="sampled")

    def wait_for(is_so: Callable[[], bool]) -> None:
        assert not is_so()
        AuditReport.objects.update(status="clean")
        assert is_so()

    monkeypatch.setattr(scenes, "wait_for", wait_for)
    assert scenes.full_audit().mode == "full"


def test_a_rollout_that_has_begun_is_left_alone(db: None) -> None:
    from config.scenes import NoScene, play
    from tests.console import journal

    journal.ran(journal.the_rollout(), 0)
    with pytest.raises(NoScene, match="RESET=1"):
        play("contract")
