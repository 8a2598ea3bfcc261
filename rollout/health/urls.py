"""Addresses for load balancers and Prometheus; include them where those look, often at the root."""

from django.urls import path

from rollout.health import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
]
