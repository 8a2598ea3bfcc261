from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.conf import LazySettings
    from django.test import Client
    from pytest_django.plugin import DjangoDbBlocker

    from rollout.models import Rollout
    from tests.support.servers import Database


@pytest.fixture
def beginning(template: str, django_db_blocker: DjangoDbBlocker) -> str:
    """The name of a database with generated offers."""
    from tests.support.demo_sites import demo_template

    with django_db_blocker.unblock():
        return demo_template(template)


@pytest.fixture
def offer_prices(committed_db: Database, own_plans: None) -> Rollout:
    """The rollout of the offers' prices, with nothing done yet; its plan is registered."""
    # Registers itself where it is imported first.
    from offers.rollout import PLAN
    from rollout.plan import plans
    from tests.support import rollouts

    if plans.find(PLAN.name) is None:
        plans.register(PLAN)
    return rollouts.the_rollout(PLAN.name)


@pytest.fixture
def demo_lead(offer_prices: Rollout, settings: LazySettings) -> Client:
    """The browser of the demo's lead."""
    from tests.support.demo_sites import become_demo, logged_in

    become_demo(settings)
    return logged_in("lead")
