"""The parts of docs/ that are made from the code; ``make reference`` writes them into the pages.

A part stands between two comments, of which the first names it. A test holds each to what is made
here, so that no page says what the code does not.
"""

import os
import re
from functools import cache

import django

from config.home import ROOT

DOCS = ROOT / "docs"
PART = re.compile(r"(<!-- made from the code: ([^>]+) -->\n).*?(<!-- end -->)", re.S)


def made(page: str) -> str:
    """A page with each of its parts as the code has it. Raises KeyError for an unknown part."""
    # They need Django.
    from config.reference_parts import PARTS

    parts = {name: cache(make) for name, make in PARTS.items()}
    return PART.sub(lambda part: f"{part[1]}\n{parts[part[2]]()}\n\n{part[3]}", page)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("SECRET_KEY", "reference")
    os.environ.setdefault("DATABASE_URL", "postgresql:///reference")
    django.setup()
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text()
        if (after := made(before)) != before:
            path.write_text(after)


if __name__ == "__main__":
    main()
