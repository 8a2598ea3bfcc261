"""What applications do with a column of a vocabulary; each gives what can be compared."""

import json
import pickle
from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite, AllValuesFieldListFilter, ModelAdmin
from django.contrib.auth.models import User
from django.core import serializers
from django.core.exceptions import ValidationError
from django.db.models import Case, Count, Exists, F, Max, OuterRef, Q, Subquery, Value, When, Window
from django.db.models.functions import Coalesce, Concat, Length, Lower, RowNumber, Upper
from django.forms import modelform_factory
from django.test import RequestFactory

from tests.fields.hosts import TEXTS, Model


def by_id(queryset: Any) -> list[Any]:
    return list(queryset.order_by("pk").values_list("pk", "status"))


def keys(queryset: Any) -> list[int]:
    return sorted(queryset.values_list("pk", flat=True))


def put(row: Any, text: Any, **options: Any) -> None:
    row.status = text
    row.save(**options)


def saved(of: Model, change: Callable[[Any], object]) -> list[Any]:
    row = of.objects.get(pk=1)
    change(row)
    return by_id(of.objects.all())


def update_in_bulk(of: Model) -> list[Any]:
    rows = list(of.objects.order_by("pk")[:4])
    for row, text in zip(rows, ["paused", None, "up", "down"], strict=True):
        row.status = text
    rows[3].status = F("note")
    of.objects.filter(pk=4).update(note="down")
    of.objects.bulk_update(rows, ["status"])
    return by_id(of.objects.all())


def loaded(of: Model) -> list[Any]:
    dump = serializers.serialize("json", of.objects.order_by("pk"))
    of.objects.all().delete()
    for row in serializers.deserialize("json", dump):
        row.save()
    return [by_id(of.objects.all()), [row["fields"] for row in json.loads(dump)]]


def form_of(of: Model, **data: Any) -> Any:
    form = modelform_factory(of, fields=["status", "note"])(data={"note": "x", **data})
    return [form.is_valid(), form.errors, form.is_valid() and form.save().status, str(form)]


def listed_by_admin(of: Model, **query: str) -> list[Any]:
    class HostAdmin(ModelAdmin):  # type: ignore[type-arg]
        list_filter = ("status", ("status", AllValuesFieldListFilter))
        search_fields = ("status",)
        list_display = ("pk", "status")
        ordering = ("status", "pk")

    request = RequestFactory().get("/", query)
    request.user = User(is_superuser=True, is_active=True)
    changes = HostAdmin(of, AdminSite()).get_changelist_instance(request)
    choices = [list(spec.choices(changes)) for spec in changes.filter_specs]
    return [keys(changes.queryset), [[c["display"] for c in spec] for spec in choices]]


def broken(row: Any) -> list[str]:
    type(row).objects.filter(pk=1).update(note="once")
    try:
        row.full_clean()
    except ValidationError as problem:
        return [message.replace("_rows", "") for message in problem.messages]
    return []


def newest(of: Model) -> Any:
    same = of.objects.filter(note__lte=OuterRef("note")).order_by("-pk")
    return Subquery(same.values("status")[:1])


USES: dict[str, Callable[[Model], Any]] = {
    "filter": lambda of: keys(of.objects.filter(status="up")),
    "filter by a quoted text": lambda of: keys(of.objects.filter(status=TEXTS[2])),
    "filter by a text of no row": lambda of: keys(of.objects.filter(status="bogus")),
    "filter by None": lambda of: keys(of.objects.filter(status=None)),
    "exclude": lambda of: keys(of.objects.exclude(status="down")),
    "exclude a text of no row": lambda of: keys(of.objects.exclude(status="bogus")),
    "exclude several": lambda of: keys(of.objects.exclude(status__in=["up", "paused", "bogus"])),
    "in": lambda of: keys(of.objects.filter(status__in=("up", "paused", None))),
    "in nothing": lambda of: keys(of.objects.filter(status__in=[])),
    "in expressions": lambda of: keys(of.objects.filter(status__in=["up", Value("paused")])),
    "in a query": lambda of: keys(
        of.objects.filter(status__in=of.objects.filter(pk=2).values("status"))
    ),
    "isnull": lambda of: keys(of.objects.filter(status__isnull=True)),
    "isnull, not": lambda of: keys(of.objects.filter(status__isnull=False)),
    "iexact": lambda of: keys(of.objects.filter(status__iexact="PAUSED")),
    "contains": lambda of: keys(of.objects.filter(status__contains="100%")),
    "icontains": lambda of: keys(of.objects.filter(status__icontains="NEW")),
    "startswith": lambda of: keys(of.objects.filter(status__startswith="p")),
    "regex": lambda of: keys(of.objects.filter(status__regex="^(up|down)$")),
    "greater": lambda of: keys(of.objects.filter(status__gt="it", status__lt="up")),
    "an expression": lambda of: keys(of.objects.filter(status=Lower(Value("UP")))),
    "F on both sides": lambda of: keys(of.objects.filter(status=F("status"))),
    "F of another column": lambda of: keys(of.objects.filter(note__lt=F("status"))),
    "Q": lambda of: keys(of.objects.filter(Q(status="up") | ~Q(status__in=["up", "down"]))),
    "a subquery of itself": lambda of: keys(
        of.objects.filter(Exists(of.objects.filter(status=OuterRef("status"), pk__gt=5)))
    ),
    "values": lambda of: list(of.objects.order_by("pk").values("status", "note")),
    "values_list": lambda of: list(of.objects.order_by("pk").values_list("status", flat=True)),
    "distinct": lambda of: list(of.objects.order_by("status").values("status").distinct()),
    "distinct on": lambda of: [
        row.status for row in of.objects.order_by("status", "pk").distinct("status")
    ],
    "order_by": lambda of: list(of.objects.order_by("status", "pk").values_list("pk", flat=True)),
    "order_by, backwards": lambda of: list(
        of.objects.order_by(F("status").desc(nulls_last=True), "-pk").values_list("pk", flat=True)
    ),
    "count by value": lambda of: list(
        of.objects.values("status").annotate(n=Count("pk")).order_by("-n", "status")
    ),
    "count having": lambda of: list(
        of.objects.values("status").annotate(n=Count("pk")).filter(n=2, status="up")
    ),
    "aggregate": lambda of: of.objects.aggregate(
        Max("status"), n=Count("status", distinct=True), up=Count("pk", filter=Q(status="up"))
    ),
    "annotate": lambda of: list(
        of.objects.annotate(s=F("status"), u=Upper("status"), n=Length("status"))
        .filter(Q(s="up") | Q(u="DOWN") | Q(s__in=["paused"]))
        .order_by("pk")
        .values_list("s", "u", "n")
    ),
    "concat": lambda of: list(
        of.objects.order_by("pk").values_list(Concat("status", Value(": "), "note"))
    ),
    "coalesce": lambda of: list(
        of.objects.order_by("pk").values_list(Coalesce("status", Value("none")))
    ),
    "case": lambda of: list(
        of.objects.order_by("pk").values_list(
            Case(
                When(status="up", then=Value("fine")),
                When(status=None, then=Value("?")),
                default=F("status"),
            )
        )
    ),
    "a subquery's value": lambda of: list(
        of.objects.annotate(s=newest(of)).filter(s="up").order_by("pk").values_list("pk", "s")
    ),
    "window": lambda of: list(
        of.objects.annotate(n=Window(RowNumber(), partition_by="status", order_by="pk"))
        .order_by("pk")
        .values_list("pk", "n")
    ),
    "union": lambda of: sorted(
        of.objects.filter(status="up").values_list("status").union(of.objects.values_list("note"))
    ),
    "only and defer": lambda of: [
        [row.status for row in of.objects.only("status").order_by("pk")],
        [row.status for row in of.objects.defer("status").order_by("pk")],
    ],
    "locked": lambda of: [row.status for row in of.objects.select_for_update().order_by("pk")],
    "create": lambda of: of.objects.get(pk=of.objects.create(status="paused").pk).status,
    "create by default": lambda of: of.objects.get(pk=of.objects.create(note="y").pk).status,
    "save": lambda of: saved(of, lambda row: put(row, "paused")),
    "save None": lambda of: saved(of, lambda row: put(row, None)),
    "save F": lambda of: saved(of, lambda row: put(row, F("status"))),
    "save one field": lambda of: saved(of, lambda row: put(row, "down", update_fields=["status"])),
    "bulk_create": lambda of: [
        of.objects.bulk_create([of(status=text, note=f"b{text}") for text in [*TEXTS, None]])
        and None,
        list(of.objects.filter(note__startswith="b").order_by("pk").values_list("status")),
    ],
    "bulk_create that updates": lambda of: [
        of.objects.bulk_create(
            [of(pk=1, status="paused"), of(pk=2, status=None)],
            update_conflicts=True,
            update_fields=["status"],
            unique_fields=["pk"],
        )
        and None,
        by_id(of.objects.all()),
    ],
    "bulk_update": update_in_bulk,
    "update": lambda of: [
        of.objects.filter(status="up").update(status="paused"),
        by_id(of.objects.all()),
    ],
    "update with None": lambda of: [of.objects.update(status=None), by_id(of.objects.all())],
    "update by F": lambda of: [
        of.objects.update(note="down"),
        of.objects.update(status=F("note")),
        by_id(of.objects.all()),
    ],
    "update another column": lambda of: [
        of.objects.exclude(status=None).update(note=F("status")),
        list(of.objects.order_by("pk").values_list("note")),
    ],
    "update by case": lambda of: [
        of.objects.update(status=Case(When(status="up", then=Value("down")), default=F("status"))),
        by_id(of.objects.all()),
    ],
    "update by a subquery": lambda of: [
        of.objects.update(status=newest(of)),
        by_id(of.objects.all()),
    ],
    "get_or_create": lambda of: [
        of.objects.get_or_create(status="paused", note="g")[0].status,
        of.objects.get_or_create(status="paused", note="g")[1],
        of.objects.update_or_create(note="g", defaults={"status": "down"})[0].status,
        of.objects.get(note="g").status,
    ],
    "raw": lambda of: [
        row.status for row in of.objects.raw(f"SELECT * FROM {of._meta.db_table} ORDER BY id")
    ],
    "refresh": lambda of: saved(of, lambda row: row.refresh_from_db(fields=["status"])),
    "delete": lambda of: [of.objects.filter(status="up").delete()[0], by_id(of.objects.all())],
    "serializers": loaded,
    "pickle": lambda of: [
        pickle.loads(pickle.dumps(of.objects.get(pk=1))).status,  # noqa: S301
        [row.status for row in pickle.loads(pickle.dumps(of.objects.order_by("pk")))],  # noqa: S301
    ],
    "valid, by the model's constraints": lambda of: [
        broken(of(status="paused", note="bad")),
        broken(of(status="up", note="once")),
        broken(of(status="down", note="once")),
    ],
    "form": lambda of: form_of(of, status="paused"),
    "form, empty": lambda of: form_of(of, status=""),
    "form, refused": lambda of: form_of(of, status="bogus"),
    "displayed": lambda of: of.objects.get(pk=1).get_status_display(),
    "admin": listed_by_admin,
    "admin, filtered": lambda of: listed_by_admin(of, status__exact="up"),
    "admin, searched": lambda of: listed_by_admin(of, q="AUSE"),
}
