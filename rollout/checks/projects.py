"""System checks of the project: what the console's pages and workers need."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections, router

from rollout import journal
from rollout.checks.ids import CheckId
from rollout.journal.environments import configured

_MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
)
_PROCESSORS = (
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
)
# With these the queue neither repeats nor loses tasks: the journal decides that.
QUEUE = {
    "timeout": 86_400,
    "retry": 604_800,
    "ack_failures": True,
    "save_limit": -1,
    "queue_limit": 1,
    "bulk": 1,
    "catch_up": False,
}


@register("rollout")
def check_project(**_: Any) -> list[CheckMessage]:
    """Check the databases, pages and queue in the project's settings."""
    return [*_databases(), *_pages(), *_queue()]


def _databases() -> Iterator[CheckMessage]:
    alias = journal.alias()
    if connections[alias].vendor != "postgresql":
        yield Error(
            f"The journal's database '{alias}' is not PostgreSQL.",
            hint="Configure PostgreSQL for it in DATABASES, or route the apps 'rollout' and "
            "'django_q' to PostgreSQL with a database router.",
            id=CheckId.JOURNAL_OF_OTHER_KIND,
        )
    elif router.db_for_write(get_user_model()) != alias:
        yield Error(
            f"The journal (database '{alias}') and the users must be in the same database.",
            hint="Route the apps 'rollout' and 'django_q' to the users' database, or the users to "
            "the journal's.",
            id=CheckId.USERS_ELSEWHERE,
        )
    for name, alias in configured().items():
        if alias not in connections:
            yield Error(
                f"The environment '{name}' is the database '{alias}', which is not in DATABASES.",
                hint='Name an alias of DATABASES in ROLLOUT["ENVIRONMENTS"].',
                id=CheckId.ENVIRONMENT_WITHOUT_DATABASE,
            )
        elif connections[alias].vendor != "postgresql":
            yield Error(
                f"The environment '{name}' is the database '{alias}', which is not PostgreSQL.",
                hint='Rollout supports PostgreSQL only. Name one in ROLLOUT["ENVIRONMENTS"].',
                id=CheckId.ENVIRONMENT_OF_OTHER_KIND,
            )


def _pages() -> Iterator[CheckMessage]:
    for name in _MIDDLEWARE:
        if name not in settings.MIDDLEWARE:
            yield Warning(
                f"The console's pages need {name}.",
                hint="Add it to MIDDLEWARE.",
                id=CheckId.MISSING_MIDDLEWARE,
            )
    templates: list[dict[str, Any]] = settings.TEMPLATES
    processors = {
        name
        for engine in templates
        for name in engine.get("OPTIONS", {}).get("context_processors", ())
    }
    for name in _PROCESSORS:
        if name not in processors:
            yield Warning(
                f"The console's pages need {name}.",
                hint="Add it to the context processors in TEMPLATES.",
                id=CheckId.MISSING_CONTEXT_PROCESSOR,
            )


def _queue() -> Iterator[CheckMessage]:
    queue: dict[str, Any] = getattr(settings, "Q_CLUSTER", {})
    if not queue.keys() & {"orm", "redis"}:
        yield Error(
            "Q_CLUSTER has no broker.",
            hint=f'Set it, for example: Q_CLUSTER = {{"name": "rollout", "orm": "{journal.alias()}"'
            f", **{QUEUE}}}",
            id=CheckId.NO_BROKER,
        )
        return
    wrong = {name: value for name, value in QUEUE.items() if not _is_safe(queue, name)}
    if wrong:
        yield Warning(
            f"Q_CLUSTER settings allow repeated or lost tasks: {', '.join(wrong)}.",
            hint=f"Set it to {wrong}; see docs/install.md.",
            id=CheckId.UNSAFE_QUEUE,
        )


def _is_safe(queue: dict[str, Any], name: str) -> bool:
    value = queue.get(name)
    if name == "timeout":
        # Building an index may take hours; the default is no timeout.
        return value is None or value >= 3600
    if name == "retry":
        return isinstance(value, int) and value > (queue.get("timeout") or QUEUE["timeout"])
    return value is not None and value == QUEUE[name]
