from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from django.conf import LazySettings


@pytest.fixture
def two_environments(settings: LazySettings) -> None:
    """Production and staging, which are the same database here."""
    from tests.console import journal

    settings.ROLLOUT = {
        **settings.ROLLOUT,
        "ENVIRONMENTS": {"production": "default", "staging": "default"},
        "NOTIFICATIONS": journal.ONE_WEBHOOK,
    }
