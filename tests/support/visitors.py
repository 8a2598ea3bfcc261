"""Browsers of people with each role, and what their pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.conf import LazySettings
    from django.test import Client

    from rollout.models import Rollout


@pytest.fixture
def viewer(db: None) -> Client:
    """The browser of somebody who may only look."""
    from tests.console import journal

    return journal.browser_of("viewer")


@pytest.fixture
def engineer(db: None) -> Client:
    from tests.console import journal

    return journal.browser_of("engineer")


@pytest.fixture
def lead(db: None) -> Client:
    from tests.console import journal

    return journal.browser_of("lead")


@pytest.fixture
def reviewer(properties: Rollout) -> Client:
    """An engineer, where the property rollout has listings."""
    from tests.console import journal

    return journal.browser_of("engineer")


@pytest.fixture
def shared_parts(settings: LazySettings) -> Iterator[None]:
    """Parts of pages are kept for a minute, as on a site that people read."""
    from django.core.cache import cache

    settings.ROLLOUT = {**settings.ROLLOUT, "SHARE_PARTS": True}
    cache.clear()
    yield
    cache.clear()
