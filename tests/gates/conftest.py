from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from rollout.models import Rollout


@pytest.fixture
def rollout(db: None) -> Rollout:
    """The property rollout, with nothing done yet."""
    from tests import rollouts

    return rollouts.the_rollout()
