"""Notifications: the user's own e-mails, the webhooks, and the deliveries."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from rollout.console.badges import BADGES
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import SLOW, cache_fragment
from rollout.console.http.shortcuts import row_or_404, webhook_or_404
from rollout.console.lists.filters import Listed, ListFilter, choice
from rollout.console.lists.pages import BY_AGE, Order, page_of
from rollout.console.views.runs import redirect_back
from rollout.journal.heartbeats import liveness
from rollout.models import Channel, Delivery, DeliveryState, Rollout, Subscription
from rollout.notifications import deliveries
from rollout.notifications.kinds import KINDS, LABELS
from rollout.notifications.recipients import choices_of
from rollout.notifications.webhooks import Webhook, webhooks
from rollout.queries.status import all_rollouts
from rollout.runner import subscriptions

ALL = "all"
NOT_TAKEN = "not-taken"
ORDERS = (
    *BY_AGE,
    Order("most-attempts", "Most attempts first", "attempts", descending=True),
    Order("fewest-attempts", "Fewest attempts first", "attempts"),
)


@dataclass(frozen=True)
class Cell:
    """A box to tick: a kind of events, of one rollout or of every one (None)."""

    value: str
    rollout: Rollout | None
    ticked: bool


@dataclass(frozen=True)
class Row:
    """The boxes of one kind of events."""

    kind: str
    meaning: str
    cells: list[Cell]

    @property
    def label(self) -> str:
        return LABELS.get(self.kind, self.kind)


@dataclass(frozen=True)
class HookCard:
    """A webhook with its boxes."""

    hook: Webhook
    rows: list[Row]
    chosen: bool
    """Whether somebody has chosen here; else what the settings say holds."""


class DeliveryFilter(ListFilter):
    """Which deliveries are listed."""

    recipient = forms.CharField(required=False, max_length=150, label="To")
    channel = choice(Channel.choices, "By")
    state = choice(
        [
            (NOT_TAKEN, "Attempted, not delivered"),
            *((state, BADGES["delivery"][state].label) for state in DeliveryState),
        ]
    )
    lookups: ClassVar = {"recipient": "recipient__icontains", "channel": "channel"}

    def of(self, rows: QuerySet[Listed]) -> QuerySet[Listed]:
        matching, state = super().of(rows), self.asked.get("state")
        if state == NOT_TAKEN:
            return matching.exclude(state=DeliveryState.DELIVERED).exclude(attempts=0)
        return matching.filter(state=state) if state else matching


class Choice(forms.Form):
    """The boxes that were ticked, as "all:failed" or "7:failed"."""

    ticked = forms.MultipleChoiceField(required=False)

    def __init__(self, data: QueryDict, rollouts: Iterable[Rollout]) -> None:
        super().__init__(data)
        scopes = [ALL, *(str(rollout.pk) for rollout in rollouts)]
        field = self.fields["ticked"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(f"{scope}:{kind}",) * 2 for scope in scopes for kind in KINDS]

    def subscriptions(self, **receiver: object) -> list[Subscription]:
        kinds: dict[int | None, list[str]] = {}
        for value in self.cleaned_data["ticked"]:
            scope, _, kind = value.partition(":")
            kinds.setdefault(None if scope == ALL else int(scope), []).append(kind)
        return [
            Subscription(rollout_id=pk, kinds=chosen, **receiver) for pk, chosen in kinds.items()
        ]


@may("view_rollout")
@require_http_methods(["GET", "HEAD", "POST"])
@cache_fragment
def notifications(request: ConsoleRequest) -> HttpResponse:
    """The page; a POST saves the user's own choice of events."""
    rollouts = all_rollouts()
    if request.method == "POST":
        form = Choice(request.POST, rollouts)
        if form.is_valid():
            subscriptions.choose_own(request.user, form.subscriptions(user=request.user))
            messages.success(request, "Notification preferences saved.")
        else:
            _say_outdated(request)
        return redirect("rollout:notifications")
    filters = DeliveryFilter(request.GET)
    matching = filters.of(Delivery.objects.select_related("entry"))
    listed = page_of(matching, request.GET, size=25, orders=ORDERS)
    page = {"deliveries": listed, "filters": filters, "live": SLOW}
    if request.htmx:
        return render(request, "rollout/notifications_live.html", page)
    every = list(Subscription.objects.all())
    own = [mine for mine in every if mine.user_id == request.user.pk]
    page |= {
        "rollouts": rollouts,
        "address": deliveries.address_of(request.user),
        "chosen": any(subscription.kinds for subscription in own),
        "mine": _rows(rollouts, own),
        "hooks": [_card(hook, rollouts, every) for hook in webhooks().values()],
        "liveness": liveness(),
    }
    return render(request, "rollout/notifications.html", page)


@may("manage_notifications")
@require_POST
def choose(request: ConsoleRequest, name: str) -> HttpResponse:
    """Choose the events of a webhook."""
    hook = webhook_or_404(name)
    form = Choice(request.POST, all_rollouts())
    if not form.is_valid():
        _say_outdated(request)
        return redirect("rollout:notifications")
    subscriptions.choose_for(
        hook,
        form.subscriptions(webhook=hook.name),
        ticked=sorted(form.cleaned_data["ticked"]),
        actor=request.user,
    )
    messages.success(request, f"Webhook {hook.name} updated.")
    return redirect("rollout:notifications")


@may("manage_notifications")
@require_POST
def try_out(request: ConsoleRequest, name: str) -> HttpResponse:
    """Send a webhook a test."""
    subscriptions.send_test(webhook_or_404(name), actor=request.user)
    messages.success(request, "Test sent. It appears below within seconds.")
    return redirect("rollout:notifications")


@may("manage_notifications")
@require_POST
def resend(request: ConsoleRequest, delivery_id: int) -> HttpResponse:
    """Try a delivery again at once."""
    missing = "Delivery not found. Open the Notifications page to see all."
    delivery = row_or_404(Delivery.objects.all(), delivery_id, missing)
    deliveries.resend(delivery)
    messages.success(request, f"Resending to {delivery.recipient}.")
    return redirect_back(request, "rollout:notifications")


def _say_outdated(request: ConsoleRequest) -> None:
    messages.error(request, "Not saved: the page was out of date. It is reloaded; choose again.")


def _card(hook: Webhook, rollouts: list[Rollout], every: list[Subscription]) -> HookCard:
    own = [subscription for subscription in every if subscription.webhook == hook.name]
    return HookCard(hook, _rows(rollouts, own or [Subscription(kinds=list(hook.kinds))]), bool(own))


def _rows(rollouts: list[Rollout], subscriptions: list[Subscription]) -> list[Row]:
    ticked = set(choices_of(subscriptions))
    rows = []
    for kind, meaning in KINDS.items():
        every = Cell(f"{ALL}:{kind}", None, (None, kind) in ticked)
        of_each = [
            Cell(f"{rollout.pk}:{kind}", rollout, (rollout.pk, kind) in ticked)
            for rollout in rollouts
        ]
        rows.append(Row(kind, meaning, [every, *of_each]))
    return rows
