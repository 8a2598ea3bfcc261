"""The code of an ordinary shop in each of its releases, and what writes orders through it.

No release knows of Rollout: between two of them change the model and the few names of
``shop/states.py``, as in any project whose text becomes a foreign key.
"""

SETTINGS = """
INSTALLED_APPS += ["django.contrib.admin"]
"""
URLS = """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
"""
# What an order has besides the columns of the plan: what it was last written as, and by whom.
FIELDS = """
    version = models.IntegerField(default=0)
    writer = models.CharField(max_length=1)
    tick = models.IntegerField(default=0)
    note = models.CharField(max_length=20)
    is_paid_by_note = models.BooleanField(default=False)
"""
OF_TEXT = """
from django.db.models import F, Q

FIELD = NAME = "state"
PAID = "paid"
# Spellings that people left, and a word that means another one.
MEANT = Q(state=F("note")) | Q(state="open", note="Open") | Q(state="void", note="Cancelled")
PAID_AS_MEANT = Q(paid="yes", is_paid_by_note=True) | Q(is_paid_by_note=False) & ~Q(paid="yes")
WORDS = {"Cancelled": "void"}
REPORT = "SELECT state, count(*) FROM shop_order GROUP BY state"
SET_STATE = "UPDATE shop_order SET state = %s, note = %s, version = version + 1, writer = %s, "


def value_of(name):
    return WORDS.get(name, name)


form_value = value_of


def paid_value(is_paid):
    return "yes" if is_paid else "no"


def admin_filter(name):
    return {"state": name}
"""
OF_FOREIGN_KEY = """
from django.db.models import F, Q

from shop.models import OrderState

FIELD = "state_row"
NAME = "state_row__name"
PAID = "is_paid"
MEANT = Q(state_row__name=F("note"))
PAID_AS_MEANT = Q(is_paid=F("is_paid_by_note"))
REPORT = (
    "SELECT s.name, count(*) FROM shop_order AS o"
    " JOIN shop_order_states AS s ON s.id = o.state_id GROUP BY s.name"
)
SET_STATE = (
    "UPDATE shop_order SET state_id = (SELECT id FROM shop_order_states WHERE name = %s),"
    " note = %s, version = version + 1, writer = %s, "
)


def value_of(name):
    state, _ = OrderState.objects.get_or_create(name=name)
    return state


def form_value(name):
    return value_of(name).pk


def paid_value(is_paid):
    return is_paid


def admin_filter(name):
    return {"state_row__id__exact": value_of(name).pk}
"""
# Release L is release A but for one line of its model, and for SQL that names the column.
TEXT_FIELD = "state = models.CharField(max_length=20)"
LOOKUP_FIELD = 'state = LookupField("shop_order_states", plan="order-states", max_length=20)'
OF_LOOKUP_FIELD = f"""{OF_TEXT}

REPORT = (
    "SELECT s.name, count(*) FROM shop_order AS o"
    " JOIN shop_order_states AS s ON s.id = o.state_id GROUP BY s.name"
)
SET_STATE = (
    'UPDATE shop_order SET state_id = rollout."order-states_shop_order_state_lookup_id"(%s),'
    " note = %s, version = version + 1, writer = %s, "
)
"""
# The foreign key's field keeps the name that it got beside the text.
STATES = {
    **dict.fromkeys("AB", OF_TEXT),
    **dict.fromkeys("CD", OF_FOREIGN_KEY),
    "L": OF_LOOKUP_FIELD,
}
ADMIN = """
from django.contrib import admin

from shop.models import Order
from shop.states import FIELD


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("pk", FIELD, "note")
    list_filter = (FIELD,)
    # How many there are is what counts.
    list_per_page = 10
"""
WORK = '''
"""Writes and reads orders until it is asked to stop. Each write, once committed, is a line of
the ledger, and so is what it has seen of others: their newest tick."""

import json, random, signal, sys, time
import django

django.setup()

from collections import Counter
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Count, F, Max
from django.forms import modelform_factory
from django.test import RequestFactory
from shop.models import Order
from shop.states import (
    FIELD, MEANT, NAME, PAID, PAID_AS_MEANT, REPORT, SET_STATE, admin_filter, form_value,
    paid_value, value_of,
)

ME = sys.argv[1]
NAMES = ("Open", "Sold", "Cancelled", "Shipped")
OrderForm = modelform_factory(Order, fields=[FIELD, PAID, "note"])
ledger = open(sys.argv[2], "a", buffering=1)
tick = Order.objects.aggregate(last=Max("tick"))["last"] or 0
is_told_to_stop = False


def stop(*_):
    global is_told_to_stop
    is_told_to_stop = True


signal.signal(signal.SIGTERM, stop)


def columns(name, is_paid=None):
    """What a write of a state, or of both, has to name."""
    written = {FIELD: value_of(name), "note": name, "writer": ME, "tick": tick}
    if is_paid is not None:
        written |= {PAID: paid_value(is_paid), "is_paid_by_note": is_paid}
    return written


def assign(orders, written):
    for order in orders:
        order.version += 1
        for field, value in written.items():
            setattr(order, field, value)


def create(orders, name, is_paid):
    if random.random() < 0.2:
        name = f"Returned {ME} {random.randrange(9)}"
    return [Order.objects.create(version=1, **columns(name, is_paid))]


def bulk_create(orders, name, is_paid):
    return Order.objects.bulk_create(
        [Order(version=1, **columns(name, is_paid)), Order(version=1, **columns("Open", False))]
    )


def save(orders, name, is_paid):
    assign(orders, columns(name, is_paid))
    for order in orders:
        order.save()
    return orders


def save_state_alone(orders, name, is_paid):
    written = columns(name)
    assign(orders, written)
    for order in orders:
        order.save(update_fields=[*written, "version"])
    return orders


def submit_form(orders, name, is_paid):
    data = {FIELD: form_value(name), PAID: paid_value(is_paid), "note": name}
    for order in orders:
        form = OrderForm(data, instance=order)
        assert form.is_valid(), form.errors
        order.version, order.writer, order.tick = order.version + 1, ME, tick
        order.is_paid_by_note = is_paid
        form.save()
    return orders


def update(orders, name, is_paid):
    written = columns(name, is_paid)
    rows = Order.objects.filter(pk__in=[order.pk for order in orders])
    assert rows.update(version=F("version") + 1, **written) == len(orders)
    assign(orders, written)
    return orders


def bulk_update(orders, name, is_paid):
    written = columns(name, is_paid)
    assign(orders, written)
    Order.objects.bulk_update(orders, [*written, "version"])
    return orders


def upsert(orders, name, is_paid):
    written = columns(name, is_paid)
    orders = [Order(pk=order.pk, version=order.version + 1, **written) for order in orders]
    return Order.objects.bulk_create(
        orders, update_conflicts=True, unique_fields=["id"], update_fields=[*written, "version"]
    )


def execute_sql(orders, name, is_paid):
    value = value_of(name)
    with connection.cursor() as cursor:
        for order in orders:
            cursor.execute(
                SET_STATE + "tick = %s WHERE id = %s",
                [getattr(value, "name", value), name, ME, tick, order.pk],
            )
    assign(orders, {"note": name})
    return orders


def delete(orders, name, is_paid):
    del orders[1:]
    for order in orders:
        Order.objects.filter(pk=order.pk).delete()
    assign(orders, {"note": None})
    return orders


def read():
    """All ways to read agree with each other, and with what was written, at one moment."""
    name = random.choice(NAMES)
    params = admin_filter(name)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        wrong = Order.objects.filter(~MEANT) | Order.objects.filter(~PAID_AS_MEANT)
        assert not wrong.exists(), list(wrong.values()[:3])
        counts = dict(Order.objects.values_list(NAME).annotate(Count("pk")))
        cursor.execute(REPORT)
        assert dict(cursor.fetchall()) == counts
        assert Counter(row[NAME] for row in Order.objects.values(NAME)) == counts
        assert Order.objects.filter(**{NAME: name}).count() == counts.get(name, 0)
        others = sum(counts.values()) - counts.get(name, 0)
        assert Order.objects.exclude(**{NAME: name}).count() == others
        request = RequestFactory().get("/admin/shop/order/", params)
        request.user = User(pk=1, is_superuser=True, is_staff=True, is_active=True)
        page = admin.site.get_model_admin(Order).changelist_view(request)
        page.render()
        assert page.context_data["cl"].result_count == counts.get(name, 0)
        return dict(Order.objects.values_list("writer").annotate(Max("tick")))


WRITES = (
    create, create, bulk_create, save, save_state_alone, submit_form, update, bulk_update,
    upsert, execute_sql, delete,
)
while not is_told_to_stop:
    tick += 1
    write = WRITES[tick % len(WRITES)]
    keys = random.sample(list(Order.objects.values_list("pk", flat=True)), 3)
    with transaction.atomic():
        # Whoever wrote them last; nobody else changes them meanwhile.
        rows = Order.objects.select_for_update(no_key=True).filter(pk__in=keys)
        orders = write(list(rows.order_by("pk")), random.choice(NAMES), random.random() < 0.5)
        written = [[each.pk, each.version, each.note, each.is_paid_by_note] for each in orders]
    print(json.dumps({"tick": tick, "by": write.__name__, "written": written}), file=ledger)
    if tick % 6 == 0:
        print(json.dumps({"seen": read()}), file=ledger)
    # Releases write side by side: as fast as they can, they would keep the cores from all else.
    time.sleep(0.05)
'''
