"""Lists the versions of the documents that ``make docs`` has built, for the menu on their pages."""

import json
import re
import sys
from pathlib import Path


def list_versions(site: Path) -> None:
    """Write ``versions.json``, newest first, and an ``index.html`` that leads to the newest."""
    built = [path.parent.name for path in site.glob("*/index.html")]
    versions = sorted(built, key=lambda name: [int(x) for x in re.findall(r"\d+", name)])[::-1]
    listed = [{"version": name, "title": name, "aliases": []} for name in versions]
    (site / "versions.json").write_text(json.dumps(listed))
    newest = f"{versions[0]}/index.html"
    (site / "index.html").write_text(
        "<!doctype html><title>Rollout</title>"
        f'<meta http-equiv="refresh" content="0; url={newest}">'
        f'<a href="{newest}">The newest version</a>\n'
    )


if __name__ == "__main__":
    list_versions(Path(sys.argv[1]))
