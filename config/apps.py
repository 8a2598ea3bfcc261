"""Puts this site's administration in the place of Django's own."""

from django.contrib.admin.apps import AdminConfig


class Administration(AdminConfig):
    default_site = "config.admin.Site"
