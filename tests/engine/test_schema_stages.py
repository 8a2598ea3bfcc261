"""Which phase's schema a database has."""

import pytest

from rollout import runner
from rollout.engine import schema_stages
from rollout.models import Rollout
from tests.runner.test_adoptions import blocking
from tests.support.rollouts import ADA


def test_a_later_schema_is_looked_for_only_where_that_of_before_phase_0_is_not_there(
    properties: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_stages, "adoptable_phase", lambda *_: pytest.fail("looked for"))
    assert not blocking(properties)


def test_a_database_of_before_phase_1_is_nothing_to_be_adopted(properties: Rollout) -> None:
    assert not blocking(properties)
    with pytest.raises(runner.Refused, match="does not have the schema after phase 4"):
        runner.adopt(properties, 4, actor=ADA)
