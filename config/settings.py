"""One settings file, driven by the environment. `make demo` sets what it needs on its own."""

import json
import os
from datetime import timedelta
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from config import strength
from config.home import ROOT, Home, read_or_none
from properties import VERSION
from rollout.engine.target import KEEPALIVES

HOME = Home.from_environ(os.environ)


# What a running demo shares, where its database is used: its shell and its pages agree.
GIVEN = {**({} if os.environ.get("DATABASE_URL") else HOME.shared_variables()), **os.environ}


def flag(name: str, *, default: str = "") -> bool:
    return GIVEN.get(name, default).lower() in {"1", "true", "yes", "on"}


def words(name: str, default: str = "") -> list[str]:
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def whole_number(name: str, default: int) -> int:
    text = GIVEN.get(name) or str(default)
    if not text.isdecimal():
        raise ImproperlyConfigured(f"{name} must be an integer, not {text!r}.")
    return int(text)


def json_object(name: str) -> dict[str, Any]:
    try:
        value = json.loads(os.environ.get(name) or "{}")
    except ValueError as error:
        # Not with its text: it holds secrets.
        raise ImproperlyConfigured(f"{name} must be a JSON object: {error}") from None
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise ImproperlyConfigured(f"{name} must be a JSON object of objects.")
    return value


def setting_or_file(name: str, file_name: str) -> str:
    """From the environment, else from the file that a running demo keeps in its home."""
    value = os.environ.get(name) or read_or_none(HOME.path / file_name)
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set, and no demo is running in {HOME.path}. "
            f"Set {name}, or start one with: make demo"
        )
    return value


def database(url: str) -> dj_database_url.DBConfig:
    try:
        config = dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {error}") from error
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database: postgresql://…")
    options = config.setdefault("OPTIONS", {})
    # A server on a Unix socket is named as ?host=/directory; Django looks for it in HOST.
    config["HOST"] = str(options.pop("host", config["HOST"]))
    config["PORT"] = str(options.pop("port", config["PORT"]))
    # A page for a database that is away should not take minutes to come.
    options.setdefault("connect_timeout", 5)
    # Nor should a process wait for hours for a server that cannot be reached any more.
    for name, value in KEEPALIVES.items():
        options.setdefault(name, value)
    # By this name the plan tells which versions of the application still run.
    options.setdefault("application_name", f"properties/{VERSION}")
    return config


DEBUG = flag("DEBUG")
# Set by the tests: static files come straight from the source tree.
TESTING = flag("ROLLOUT_TESTING")

SECRET_KEY = setting_or_file("SECRET_KEY", HOME.secret_key.name)
ALLOWED_HOSTS = words("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = words("CSRF_TRUSTED_ORIGINS")
# Behind a proxy that speaks TLS, and that sets X-Forwarded-Proto and X-Forwarded-For itself.
HTTPS = flag("HTTPS")

DATABASE_URL = setting_or_file("DATABASE_URL", HOME.database_url.name)
if strength.is_open(hosts=ALLOWED_HOSTS, https=HTTPS) and (
    weak := strength.weaknesses(
        secret_key=SECRET_KEY, database_url=DATABASE_URL, hosts=ALLOWED_HOSTS
    )
):
    raise ImproperlyConfigured(" ".join(weak))

# Addresses that let a user of the demo become another: config/demo_urls.py.
DEMO = flag("DEMO")
# The demo without what makes it short.
DEMO_STRICT = flag("DEMO_STRICT")
if DEMO and strength.is_open(hosts=ALLOWED_HOSTS, https=HTTPS):
    raise ImproperlyConfigured(
        "DEMO=1 lets every user become another: it is for this machine alone. Unset DEMO, or leave "
        "HTTPS and ALLOWED_HOSTS as they are."
    )

INSTALLED_APPS = [
    "config.apps.Administration",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "axes",
    "django_htmx",
    "django_q",
    "rollout",
    "properties",
    # A second rollout, beside that of every site.
    *(["offers"] if DEMO else []),
]

MIDDLEWARE = [
    "rollout.logs.RequestId",
    "config.headers.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "config.headers.LargestRequest",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "rollout.console.http.sessions.SessionLimits",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "rollout.telemetry.middleware.Telemetry",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.demo_urls" if DEMO else "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                *(["config.demo_accounts.accounts"] if DEMO else []),
            ],
        },
    }
]

DATABASES = {"default": database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# How long the application is watched between two phases of the property rollout. All processes
# need the same value; 0 leaves the gates out that ask for measurements.
PROPERTIES_SOAK = timedelta(seconds=whole_number("SOAK_SECONDS", 0 if TESTING else 20))
# Whether the property rollout must be rehearsed first; the same for all processes.
PROPERTIES_REHEARSED = flag("REHEARSED", default="" if TESTING else "yes")

# Environment -> alias of its database.
ROLLOUT: dict[str, Any] = {
    "ENVIRONMENTS": {"production": "default"},
    # Pages of the application that the console leads to.
    "LINKS": {"Properties": "properties:list"} | ({"Offers": "offers"} if DEMO else {}),
    # What stands in the place of the user's name at the top of each page.
    "USER_MENU": "demo/user_menu.html" if DEMO and not DEMO_STRICT else "",
    # The most rows a second with which a backfill of production begins; 0 for no limit.
    "BACKFILL_ROWS_PER_SECOND": whole_number("BACKFILL_ROWS_PER_SECOND", 0),
    # Where the application shows a row of a table, for the links of mismatching rows.
    "ROW_URLS": {"properties": "/properties/{key}/"},
    # Dumps hold all that the tables hold: never among the files that the site serves.
    "SNAPSHOTS": {"STORAGE": "snapshots"},
    # The directory of pg_dump and pg_restore; else they are looked for.
    "PG_BIN": os.environ.get("PG_BIN", ""),
    # How long a login lasts: unused, at the most, and until the password is requested again.
    "SESSIONS": {
        "IDLE_MINUTES": whole_number("SESSION_IDLE_MINUTES", 120),
        "HOURS": whole_number("SESSION_HOURS", 12),
        "CONFIRM_MINUTES": whole_number("SESSION_CONFIRM_MINUTES", 15),
    },
    # A test's own process is not to write what it measures behind the test's back.
    "TELEMETRY": flag("ROLLOUT_TELEMETRY", default="" if TESTING else "yes"),
    # Who may read /metrics: who knows the token, or comes from a network. Neither: nobody.
    "METRICS": {
        "TOKEN": os.environ.get("ROLLOUT_METRICS_TOKEN", ""),
        "NETWORKS": words("ROLLOUT_METRICS_NETWORKS"),
    },
    # Where people open the console: links in notifications lead there.
    "BASE_URL": os.environ.get("ROLLOUT_BASE_URL", ""),
    # Where these documents are served: errors link to the entry of the runbook there.
    "DOCS_URL": os.environ.get("ROLLOUT_DOCS_URL", ""),
    "NOTIFICATIONS": {
        # {name: {"URL": "https://…", "SECRET": "…", "EVENTS": ["failed", …]}}
        "WEBHOOKS": json_object("ROLLOUT_WEBHOOKS"),
        "ALLOW_HTTP": flag("ROLLOUT_WEBHOOKS_ALLOW_HTTP"),
    },
    # Parts of pages are given out again for a moment; a test looks at what it has just done.
    "SHARE_PARTS": not TESTING,
    "SHADOW": flag("ROLLOUT_SHADOW", default="" if TESTING else "yes"),
}
if DEMO:
    ROLLOUT["GUIDE"] = "config.guides.DemoGuide"
elif TESTING:
    # Tests are about what a rollout's page has besides.
    ROLLOUT["GUIDE"] = ""

# The queue delivers, the journal decides: lost work is found by leases and the watchdog, within
# seconds. Everything here keeps the queue from repeating work on its own.
Q_CLUSTER: dict[str, object] = {
    "name": "rollout",
    "label": "Queue",
    "workers": whole_number("ROLLOUT_WORKERS", 2),
    # The longest statement (VALIDATE, CREATE INDEX CONCURRENTLY) may take hours, never a day.
    "timeout": 24 * 3600,
    # Counts from the moment a task is fetched; shorter than a run, it would run things twice.
    "retry": 7 * 24 * 3600,
    # A failed task counts as delivered; the journal knows that it failed.
    "ack_failures": True,
    # Results are in the journal; -1 keeps no second record of success.
    "save_limit": -1,
    # One task at a time in memory: what waits there is lost with the process.
    "queue_limit": 1,
    "bulk": 1,
    # A schedule missed while the cluster was down runs once, not once for every miss.
    "catch_up": False,
    # With another value a task was seen to outlive its timeout.
    "guard_cycle": 0.5,
}
if redis_url := os.environ.get("ROLLOUT_REDIS_URL"):
    Q_CLUSTER["redis"] = redis_url
else:
    # A worker that waits is notified of what a button sends.
    Q_CLUSTER |= {"orm": "default", "broker_class": "rollout.queue.NotifyingBroker", "poll": 0}

AUTHENTICATION_BACKENDS = [
    # First, so that a locked-out user is refused before a password is checked.
    "axes.backends.AxesStandaloneBackend",
    # Roles, also in one environment: the group lead:staging.
    "rollout.permissions.EnvironmentBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# Five wrong passwords lock a name out from the address they came from: others who have that name
# at another address still get in, or anybody could keep the leads out.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_CLIENT_IP_CALLABLE = "config.headers.client_address"
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

# Without a mail server, mail is printed where the worker's log is.
EMAIL_HOST = os.environ.get("EMAIL_HOST", "")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_PORT = whole_number("EMAIL_PORT", 25)
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = flag("EMAIL_USE_TLS")
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "rollout@localhost")

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = HOME.static
STATICFILES_DIRS = [ROOT / "static"]
PLAIN_STATIC = DEBUG or TESTING
WHITENOISE_USE_FINDERS = PLAIN_STATIC
# Looked for when they are requested: STATIC_ROOT need not be there, and no start reads them all.
WHITENOISE_AUTOREFRESH = PLAIN_STATIC
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "snapshots": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": HOME.snapshots,
            "base_url": None,
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if PLAIN_STATIC
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
MEDIA_URL = "/media/"
MEDIA_ROOT = HOME.media
SERVE_MEDIA = flag("SERVE_MEDIA")

# An image of 10 MB is the largest that any form takes.
MAX_REQUEST_BYTES = 12 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = 5

SESSION_COOKIE_AGE = ROLLOUT["SESSIONS"]["HOURS"] * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# Whoever probes a process talks to it directly.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Further sites that a form may lead to: where a single sign-on asks for the password.
CSP_FORM_ACTION = words("CSP_FORM_ACTION")
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = whole_number("HSTS_SECONDS", 365 * 24 * 3600)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = flag("HSTS_SUBDOMAINS")
# Whether all subdomains speak TLS is for the owner of the domain to say, not for this site.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# Lines for people where a demo's database is used, JSON where the environment names one.
LOG_FORMAT = os.environ.get("LOG_FORMAT") or (
    "json" if os.environ.get("DATABASE_URL") and not (DEBUG or TESTING) else "line"
)
if LOG_FORMAT not in ("json", "line"):
    raise ImproperlyConfigured(f'LOG_FORMAT must be "json" or "line", not {LOG_FORMAT!r}.')
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "rollout.logs.Context"}},
    "formatters": {
        "line": {"()": "rollout.logs.LineFormatter"},
        "json": {"()": "rollout.logs.JsonFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["context"],
        }
    },
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.server": {"handlers": ["console"], "level": "INFO", "propagate": False},
        "django-q": {"level": "INFO", "propagate": True},
    },
}
