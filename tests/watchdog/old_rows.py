"""Rows of long ago, and a view that is out of date: what a watchdog tidies up."""

from datetime import timedelta

from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ

from rollout.engine import ddl
from rollout.models import DatabaseReading, Delivery, Heartbeat, LogEntry, Measurement, Rollout
from rollout.plan import CreateMaterializedView, plans
from rollout.plan.actions import Statement
from tests.engine.actions import NoControl
from tests.support import rollouts
from tests.support.rollouts import PLAN

# Longer than anything is kept.
LONG_AGO = timezone.now() - timedelta(days=100)


def write_what_is_kept_no_longer(rollout: Rollout) -> None:
    Measurement.objects.create(at=LONG_AGO, seconds=3, operation="long ago", calls=1, errors=0)
    DatabaseReading.objects.create(rollout=rollout, at=LONG_AGO, seconds=10)
    Heartbeat.objects.create(name="gone:2", kind="worker", seen_at=LONG_AGO)
    # Fetched two days ago: a broker in the database hands it out again after a week.
    OrmQ.objects.create(
        key=get_broker().list_key,
        payload="of a worker that died",
        lock=timezone.now() + timedelta(seconds=Conf.RETRY) - timedelta(days=2),
    )
    Delivery.objects.create(
        entry=LogEntry.objects.earliest("pk"),
        channel="webhook",
        recipient="elsewhere",
        state="delivered",
        due_at=LONG_AGO,
        finished_at=LONG_AGO,
    )


def make_view_that_is_out_of_date() -> None:
    plan = plans.get(PLAN)
    (step,) = (step for step in plan.phases[4].steps if isinstance(step, CreateMaterializedView))
    with rollouts.target() as application:
        for action in step.forward(plan):
            assert isinstance(action, Statement)
            ddl.apply(application, action, NoControl())
        application.execute("DELETE FROM properties WHERE id = (SELECT id FROM properties LIMIT 1)")
