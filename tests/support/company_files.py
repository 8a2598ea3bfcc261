"""The files of another project than this one."""

APPS = ("staff", "shop", "readings")
SETTINGS = """
import os, urllib.parse

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS += ["django_htmx", "django_q", "rollout", "staff", "shop", "readings"]
MIDDLEWARE += ["django_htmx.middleware.HtmxMiddleware"]
AUTH_USER_MODEL = "staff.Member"


def database(name):
    url = urllib.parse.urlsplit(os.environ["SERVER_URL"])
    query = dict(urllib.parse.parse_qsl(url.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": url.username or query.pop("user", ""),
        "PASSWORD": urllib.parse.unquote(url.password or ""),
        "HOST": query.pop("host", url.hostname or ""),
        "PORT": str(query.pop("port", url.port or "")),
        # What libpq understands belongs to the connection, the engine's own included.
        "OPTIONS": {"connect_timeout": 5, **query},
    }


DATABASES = {
    "default": database(os.environ["APPLICATION_DATABASE"]),
    "journal": database(os.environ["JOURNAL_DATABASE"]),
}
DATABASE_ROUTERS = ["company.router.Router"]
ROLLOUT = {"PG_BIN": os.environ["PG_BIN"], "SNAPSHOTS": {"STORAGE": "dumps"}}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    },
    "dumps": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": BASE_DIR / "dumps", "base_url": None},
    },
}
STATIC_ROOT = BASE_DIR / "collected"
Q_CLUSTER = {
    "name": "company", "orm": "journal", "workers": 2, "timeout": 3600, "retry": 7200,
    "ack_failures": True, "save_limit": -1, "queue_limit": 1, "bulk": 1, "catch_up": False,
    "poll": 0.1,
}
"""
ROUTER = '''
OF_THE_APPLICATION = {"shop", "readings"}


class Router:
    """The application's tables in one database; users, sessions and the journal in another."""

    def db_for_read(self, model, **hints):
        return "default" if model._meta.app_label in OF_THE_APPLICATION else "journal"

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "default") == (app_label in OF_THE_APPLICATION)
'''
URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("ops/console/", include("rollout.console.urls")),
]
"""
SERVE = '''
"""The site below /company, as a web server mounts it."""

import os, sys, wsgiref.simple_server
from socketserver import ThreadingMixIn

os.environ["DJANGO_SETTINGS_MODULE"] = "company.settings"
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()


def mounted(environ, start_response):
    assert environ["PATH_INFO"].startswith("/company/"), environ["PATH_INFO"]
    environ["SCRIPT_NAME"] = "/company"
    environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/company")
    return application(environ, start_response)


class Server(ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


wsgiref.simple_server.make_server(
    "127.0.0.1", int(sys.argv[1]), mounted, server_class=Server
).serve_forever()
'''
MEMBER = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class Members(BaseUserManager):
    def create_superuser(self, email, password):
        member = self.model(email=email, is_superuser=True, is_staff=True)
        member.set_password(password)
        member.save()
        return member


class Member(AbstractBaseUser, PermissionsMixin):
    email = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    objects = Members()
    USERNAME_FIELD = "email"
"""
DRIVE = '''
"""Carries every plan from phase 0 to 4 and back, with whatever workers there are."""

import sys, time
import django

django.setup()

from django.contrib.auth import get_user_model
from rollout import runner
from rollout.journal import activity_log
from rollout.models import PhaseRun, SnapshotState
from rollout.plan import plans
from rollout.queries.status import find_rollout, status_of


get_user_model().objects.create_superuser("lead@company.example", "of-the-test")


class Lead:
    def get_username(self):
        return "lead@company.example"


def wait(objects, is_over):
    until = time.monotonic() + 120
    while not all(is_over(each) for each in objects):
        assert time.monotonic() < until, [f"{each} {vars(each)}" for each in objects]
        time.sleep(0.1)
        for each in objects:
            each.refresh_from_db()


def all_of(verb, phase):
    runs = [verb(rollout, phase, actor=Lead(), source="shell") for rollout in rollouts]
    wait(runs, lambda run: not run.active)
    for run in runs:
        assert run.state == "done", (str(run), run.error, list(run.steps.values()))


rollouts = [find_rollout(plan.name, "production") for plan in plans]
last = int(sys.argv[1])
for phase in range(last + 1):
    if phase >= 3:
        snapshots = [runner.take_snapshot(each, actor=Lead(), source="shell") for each in rollouts]
        wait(snapshots, lambda snapshot: not snapshot.under_way)
        assert {each.state for each in snapshots} == {SnapshotState.VERIFIED}, [
            each.error for each in snapshots
        ]
    all_of(runner.start, phase)
print("there")
for phase in range(last, -1, -1):
    all_of(runner.roll_back, phase)
print("and back")
assert not any(status_of(rollout).phase for rollout in rollouts)
assert activity_log.verify().broken is None
'''

SHOP_TABLES = '''
from django.db import migrations

SQL = """
CREATE SCHEMA "Sales";
CREATE TABLE "Sales"."Order" (
  "Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "State" text, placed_at timestamptz NOT NULL
);
CREATE INDEX "Order_State" ON "Sales"."Order" ("State");
CREATE TABLE "Sales".line (
  order_no integer, "No" smallint, "Kind" varchar(30) NOT NULL, paid text,
  PRIMARY KEY (order_no, "No")
);
INSERT INTO "Sales"."Order" ("State", placed_at)
  SELECT (ARRAY['Open', ' open', 'SENT', 'sent', '', NULL])[1 + n % 6], now()
    FROM generate_series(1, 3000) AS n;
INSERT INTO "Sales".line
  SELECT n / 5, n % 5, (ARRAY['goods', 'Goods', 'postage', ''])[1 + n % 4],
         (ARRAY['yes', 'No', NULL])[1 + n % 3]
    FROM generate_series(1, 3000) AS n;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations.RunSQL(SQL, reverse_sql='DROP SCHEMA "Sales" CASCADE')]
'''
READINGS_TABLES = '''
from django.db import migrations

SQL = """
CREATE TABLE readings_reading (
  station integer, at date, quality varchar(12), value real, PRIMARY KEY (station, at)
) PARTITION BY RANGE (at);
CREATE TABLE readings_old PARTITION OF readings_reading
  FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE readings_new PARTITION OF readings_reading
  FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
INSERT INTO readings_reading
  SELECT n % 7, date '2023-12-01' + n, (ARRAY['good', 'Good', 'bad', ' bad', NULL])[1 + n % 5], n
    FROM generate_series(1, 2000) AS n;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations.RunSQL(SQL, reverse_sql="DROP TABLE readings_reading")]
'''
SHOP_PLAN = """
from rollout import plan as r

ORDERS = r.Table(
    name="Order", schema="Sales", key=("Id",),
    columns={"Id": r.Column("uuid", null=False), "State": r.Column("text")},
)
LINES = r.Table(
    name="line", schema="Sales", key=("order_no", "No"),
    columns={
        "order_no": r.Column("integer", null=False),
        "No": r.Column("smallint", null=False),
        "Kind": r.Column("character varying(30)", null=False),
        "paid": r.Column("text"),
    },
)
STATE = r.Lookup(table=ORDERS, legacy="State", column="State_id", lookup_table="States")
KIND = r.Lookup(table=LINES, legacy="Kind", column="kind_id", lookup_table="Kinds of line")
PAID = r.Derived(
    table=LINES, column="is_paid", type="boolean",
    expression="coalesce({paid:normal} = 'yes', false)",
    back={"paid": "CASE WHEN {is_paid} THEN 'yes' ELSE 'no' END"},
)
TABLES = (ORDERS, LINES)
GATES = (r.BackfillComplete(), r.AuditClean(), r.SnapshotVerified(), r.NoDrift())


def each(kind, id):
    return tuple(
        kind(id=f"{id}-{table.name.lower()}", description=f"{id} {table.label}", table=table)
        for table in TABLES
    )


def of_lookups(kind, id):
    return tuple(
        kind(id=f"{id}-{lookup.column.lower()}", description=f"{id} {lookup.column}", lookup=lookup)
        for lookup in (STATE, KIND)
    )


PLAN = r.register(
    r.Plan(
        name="shop", title="Shop", description="The texts of orders become lookup rows.",
        tables=TABLES, translations=(STATE, KIND, PAID),
        phases=(
            r.Phase(steps=(r.CompareSchemaStep(id="compare", description="Compare"),)),
            r.Phase(
                gates=(r.NoDrift(),),
                steps=(
                    *of_lookups(r.CreateLookupTable, "create"),
                    r.AddColumns(id="orders", description="Add", table=ORDERS, of=(STATE,)),
                    r.AddColumns(id="lines", description="Add", table=LINES, of=(KIND, PAID)),
                ),
            ),
            r.Phase(
                gates=(r.NoDrift(),),
                steps=(
                    *each(r.MapLegacyValues, "map"),
                    *each(r.StartDualWrite, "dual-write"),
                    r.WriteBoth(id="write-both", description="Write both"),
                    *each(r.Backfill, "backfill"),
                    r.FullAudit(id="audit", description="Audit"),
                ),
            ),
            r.Phase(
                gates=GATES,
                steps=(
                    *of_lookups(r.AddForeignKey, "key"),
                    r.RequireValues(
                        id="require", description="Require", table=LINES,
                        columns=("kind_id", "is_paid"),
                    ),
                    *each(r.CutOver, "cut-over"),
                    r.FullAudit(id="audit", description="Audit"),
                ),
            ),
            r.Phase(
                gates=GATES,
                steps=(
                    *each(r.FreezeLegacy, "freeze"),
                    *each(r.ArchiveLegacy, "archive"),
                    r.DropIndex(
                        id="drop-index", description="Drop", table=ORDERS, name="Order_State",
                        columns=("State",),
                    ),
                    *each(r.DropLegacy, "drop"),
                ),
            ),
        ),
    )
)
"""
