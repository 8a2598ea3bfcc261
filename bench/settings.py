"""The site's own settings, and the benchmark's plans and models besides."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as SITE_APPS
from config.settings import ROLLOUT as SITE_ROLLOUT

INSTALLED_APPS = [*SITE_APPS, "bench"]
# As in production, though the benchmark's server is one of tests.
ROLLOUT = {**SITE_ROLLOUT, "SHARE_PARTS": True}
