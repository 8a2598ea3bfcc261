"""What an observer of a rehearsal sees of locks."""

import time
from dataclasses import replace

import pytest
from django.db import connection

from rollout.engine.control import NullControl
from rollout.journal.environments import target_of
from rollout.plan import plans
from rollout.worker import rehearsal_observers
from tests.support.rollouts import PLAN
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("rehearsals")


def test_observer_tells_a_lock_that_is_gone_before_its_phase_counts_as_observed(
    committed_db: Database,
) -> None:
    observer = rehearsal_observers.Observer(
        replace(plans.get(PLAN), traffic=""),
        target=target_of("production").parameters,
        database=connection.settings_dict,
        seed=1,
    )
    with observer:
        observer.wait_until_ready(NullControl())
        began = time.time()
        with target_of("production").connect() as opened, opened.transaction():
            opened.execute("LOCK TABLE properties IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.1)")
        ended = time.time()
        observer.wait_until_told(ended, NullControl())
        (lock,) = observer.seen(began, ended).locks.values()
    assert (lock["table"], lock["mode"], lock["times"]) == ("properties", "AccessExclusiveLock", 1)
