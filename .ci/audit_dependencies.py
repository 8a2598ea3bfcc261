"""Known vulnerabilities of what is installed, or the reason why nobody could tell.

Ends with 1 when a package has one. A database of vulnerabilities that cannot be reached, or that
does not know a package, says nothing about this change: that is reported loudly and ends with 0, or
with 3 where AUDIT_REQUIRED is set, as for a release.
"""

import json
import os
import subprocess
import sys

COMMAND = ["-m", "pip_audit", "--skip-editable", "--progress-spinner", "off", "--format", "json"]
MINUTES = 5
VULNERABLE, UNKNOWN = 1, 3


def main() -> int:
    try:
        done = subprocess.run(
            [sys.executable, *COMMAND],
            capture_output=True,
            text=True,
            check=False,
            timeout=MINUTES * 60,
        )
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return not_audited(
            f"The database of vulnerabilities did not answer within {MINUTES} minutes."
        )
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return not_audited(f"pip-audit could not ask its database: {last}")
    known = [package for package in packages if "vulns" in package]
    unknown = [package for package in packages if "vulns" not in package]
    for package in known:
        for vulnerability in package["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(
                f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}"
            )
    print(f"Audited: {len(known)} of {len(packages)} packages.")
    if any(package["vulns"] for package in known):
        return VULNERABLE
    if unknown or not known:
        reason = (
            unknown[0].get("skip_reason", "no reason given") if unknown else "none is installed"
        )
        return not_audited(
            f"{len(unknown)} of {len(packages)} packages are not known. Of the first one: {reason}"
        )
    return 0


def not_audited(reason: str) -> int:
    """Say that the audit is missing, where nobody overlooks it; the exit status."""
    rule = "!" * 78
    print(
        f"{rule}\nNOT AUDITED. {reason}\nA green run says nothing about known vulnerabilities "
        f"of these packages.\nRun make audit-dependencies where pypi.org can be asked.\n{rule}",
        file=sys.stderr,
    )
    return UNKNOWN if os.environ.get("AUDIT_REQUIRED") else 0


if __name__ == "__main__":
    sys.exit(main())
