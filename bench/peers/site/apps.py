"""The app whose migration and whose task are the peers' backfills."""

from django.apps import AppConfig


class PeerSite(AppConfig):
    name = "bench.peers.site"
    label = "peer_site"
