"""Which phase's schema a database has."""

import pytest
from django.urls import reverse

from rollout import runner
from rollout.engine import schema_stages
from rollout.lookups import lookup_id
from rollout.models import LogEntry, Rollout
from rollout.modes import Modes, modes_now
from rollout.queries.preflights import preflight_of
from rollout.queries.status import status_of
from tests.console import journal
from tests.support import rollouts
from tests.support.rollouts import ADA, PLAN, Cli
from tests.runner.test_adoptions import blocking


def test_a_later_schema_is_looked_for_only_where_that_of_before_phase_0_is_not_there(
    properties: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_stages, "adoptable_phase", lambda *_: pytest.fail("looked for"))
    assert not blocking(properties)


def test_a_database_of_before_phase_1_is_nothing_to_be_adopted(properties: Rollout) -> None:
    assert not blocking(properties)
    with pytest.raises(runner.Refused, match="does not have the schema after phase 4"):
        runner.adopt(properties, 4, actor=ADA)
