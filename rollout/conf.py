"""The project's settings for the app: ``ROLLOUT`` in Django's settings."""

from typing import NamedTuple, TypeVar

from django.conf import settings

T = TypeVar("T")


class Setting(NamedTuple):
    """A key of ``ROLLOUT``, as the documents describe it."""

    default: str
    help: str


# Every key that is read; docs/settings.md is made from it.
SETTINGS = {
    "ENVIRONMENTS": Setting(
        '{"production": "default"}',
        'Environment to database alias, or to `{"DATABASE": alias, "AUDIT_DATABASE": alias, '
        '"PROTECTED": True}`. `AUDIT_DATABASE` lets audits read a replica. `PROTECTED` says '
        "whether approvals, soak, windows and guardrails apply; without it, in `production` alone.",
    ),
    "ROW_URLS": Setting(
        "{}", "Table to the address of a row's page in the application, with `{key}`."
    ),
    "SNAPSHOTS": Setting(
        "required",
        "`STORAGE`: the alias in `STORAGES` for dumps. `manage.py check` refuses a project that "
        "names none; name `default` too if you mean it. Only their owner can read local files.",
    ),
    "PG_BIN": Setting(
        '""', "The directory of `pg_dump` and `pg_restore`; empty: they are looked for."
    ),
    "REHEARSE_ON": Setting(
        '""',
        "The server of rehearsals: an alias of `DATABASES` or a connection string; empty: "
        "production's own. See [Rehearsals](rehearsals.md#where-it-is-made).",
    ),
    "SESSIONS": Setting(
        "{}",
        "`IDLE_MINUTES` (120), `HOURS` (12), `CONFIRM_MINUTES` (15): how long a login lasts "
        "unused, at most, and until the password is asked for again. They need "
        "`rollout.console.http.sessions.SessionLimits` in `MIDDLEWARE`.",
    ),
    "TELEMETRY": Setting("True", "Whether the application's operations are measured."),
    "TELEMETRY_KEPT": Setting("30 days", "A timedelta: how long measurements are kept."),
    "TELEMETRY_THINNING": Setting(
        "from 30 s after 6 minutes to 6 h after 7 days",
        "A list of `(timedelta, seconds)`: older measurements are merged into intervals of so many "
        "seconds.",
    ),
    "SHADOW": Setting("True", "Whether a share of reads is answered by both paths and compared."),
    "SHADOW_TIMEOUT_MS": Setting("2000", "How long a statement of a shadow read may take."),
    "SMOKE_TEST_TIMEOUT_MS": Setting(
        "2000", "How long a statement of a smoke test may take; then the test fails."
    ),
    "LINKS": Setting(
        "{}", "Name to URL name or address: your own pages in the console's navigation."
    ),
    "USER_MENU": Setting(
        '""', "A template of yours that replaces the user's name at the top of each page."
    ),
    "GUIDE": Setting(
        '"rollout.console.guides.RolloutGuide"',
        "The dotted path of `RolloutGuide`, a guide through a project's first rollout on its page, "
        "or of a subclass of yours; empty for none.",
    ),
    "BACKFILL_ROWS_PER_SECOND": Setting(
        "0",
        "The limit of rows a second with which a backfill of a protected environment begins; 0: "
        "none. Its job's page changes it.",
    ),
    "SHARE_PARTS": Setting(
        "True",
        "Whether a part of a page that follows work is rendered once for all who may see the same, "
        "and counts of what waits for people are kept until the next entry of the activity log, "
        "for 11 s at most.",
    ),
    "METRICS": Setting("{}", "`TOKEN` and `NETWORKS`: who may read [metrics](metrics.md#access)."),
    "BASE_URL": Setting('""', "Where people open the console, for links in notifications."),
    "DOCS_URL": Setting(
        '""',
        "Where these pages are served: errors link to the entry of the runbook there. Empty: they "
        "link to the console's own page of it.",
    ),
    "APPROVAL_REMINDERS": Setting(
        '{"AFTER_HOURS": 24, "AT_MOST": 3}',
        "An unanswered approval request is repeated after so many hours, so many times; `AT_MOST` "
        "0: never.",
    ),
    "NOTIFICATIONS": Setting(
        "{}",
        "`WEBHOOKS` (each with `URL`, `SECRET`, `EVENTS`) and `ALLOW_HTTP`: "
        "[Notifications](notifications.md).",
    ),
}


def setting(name: str, default: T) -> T:
    """``ROLLOUT[name]``, or the default if the project does not set it."""
    assert name in SETTINGS, f"{name} is not in SETTINGS."
    value: T = getattr(settings, "ROLLOUT", {}).get(name, default)
    return value
