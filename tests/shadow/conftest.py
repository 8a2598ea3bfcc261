from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from django.conf import LazySettings
    from pytest_django.plugin import DjangoDbBlocker

    from rollout.models import Rollout
    from tests.shadow.shadowed_reads import Here
    from tests.support.servers import Database


@pytest.fixture
def here(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Here:
    """The reader of this process, without a thread."""
    from rollout import shadow
    from rollout.shadow import reads
    from tests.shadow.shadowed_reads import Here

    settings.ROLLOUT = {**settings.ROLLOUT, "SHADOW": True}
    here = Here()
    monkeypatch.setattr(shadow, "reader", here)
    monkeypatch.setattr(reads, "RECHECK_AFTER_SECONDS", 0.0)
    return here


@pytest.fixture
def beginning(template: str, django_db_blocker: DjangoDbBlocker) -> str:
    """Forty listings in both shapes, at the end of phase 2."""
    from tests.support import rollouts
    from tests.support.servers import filled_template

    with django_db_blocker.unblock():
        return rollouts.template_after(filled_template("houses", template, _load), phases=3)


def _load() -> None:
    from tests.support import rollouts

    rollouts.load_listings(40)
    rollouts.execute(
        "UPDATE properties SET type = CASE WHEN bedrooms > 1 THEN 'House' ELSE 'Loft' END,"
        " status = 'Active'"
    )


@pytest.fixture
def shadowed(committed_db: Database, here: Here) -> Rollout:
    """Every read of those listings is compared."""
    from rollout import runner
    from tests.shadow.shadowed_reads import known
    from tests.support import rollouts

    rollout = rollouts.the_rollout()
    runner.set_shadow_percent(rollout, 100, actor=rollouts.ADA)
    known(here)
    return rollout
