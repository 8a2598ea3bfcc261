"""What the web server calls."""

import os

from django.core.wsgi import get_wsgi_application

from config.garbage import collect_seldom
from config.headers import OnlyUtf8

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = OnlyUtf8(get_wsgi_application())
collect_seldom()
