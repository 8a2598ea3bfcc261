"""`/healthz`, `/readyz` and `/metrics`."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import exposition

from rollout.conf import setting
from rollout.health import access, collector, readiness


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers; it checks nothing else."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the site can do all of its work, else 503, with the reason of each check.

    ``?exclude=worker&exclude=watchdog`` leaves checks out: a load balancer that wants to show the
    page which says that no worker runs does so.
    """
    without = request.GET.getlist("exclude")
    if unknown := set(without) - set(readiness.NAMES):
        names = ", ".join(readiness.NAMES)
        return HttpResponse(
            f"Unknown check: {', '.join(sorted(unknown))}. Known checks: {names}.\\n",
            status=400,
            content_type="text/plain; charset=utf-8",
        )
    checks = readiness.checks(without=without)
    ready = all(check.ok for check in checks)
    return JsonResponse(
        {
            "status": "ready" if ready else "not ready",
            "checks": {check.name: {"ok": check.ok, "message": check.message} for check in checks},
        },
        status=200 if ready else 503,
    )


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Metrics in Prometheus's format, for clients that the settings allow."""
    allowed = access.of_settings(setting("METRICS", {}))
    if refusal := allowed.refusal(
        address=request.META.get("REMOTE_ADDR", ""), header=request.headers.get("Authorization", "")
    ):
        return HttpResponse(
            f"{refusal}\n",
            status=403 if not allowed.token else 401,
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": "Bearer"} if allowed.token else {},
        )
    encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(collector.registry()), content_type=content_type)
