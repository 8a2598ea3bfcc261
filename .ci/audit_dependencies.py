"""Known vulnerabilities of what is installed, or the reason why nobody could tell.

Ends with 1 when a package has one. A database of vulnerabilities that cannot be reached, or that
does not know a package, is said and is no failure: it says nothing about this change.
"""

import json
import subprocess
import sys

COMMAND = ["-m", "pip_audit", "--skip-editable", "--progress-spinner", "off", "--format", "json"]
MINUTES = 5


def main() -> int:
    try:
        done = subprocess.run(
            [sys.executable, *COMMAND],
            capture_output=True,
            text=True,
            check=False,
            timeout=MINUTES * 60,
        )
        found = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"Skipped: the database of vulnerabilities did not answer within {MINUTES} minutes.")
        return 0
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"Skipped: pip-audit could not ask its database: {last}")
        return 0
    told = [one for one in found if "vulns" in one]
    untold = [one for one in found if "vulns" not in one]
    for one in told:
        for vulnerability in one["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in {fixed}")
    if untold:
        reason = untold[0].get("skip_reason", "no reason given")
        print(f"Not audited: {len(untold)} of {len(found)} packages. The first one's why: {reason}")
    if not told:
        print("Skipped: nothing could be audited here.")
    else:
        print(f"Audited: {len(told)} of {len(found)} packages.")
    return int(any(one["vulns"] for one in told))


if __name__ == "__main__":
    sys.exit(main())
