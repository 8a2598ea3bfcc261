"""The example application: property listings, in every shape its tables pass through."""

VERSION = "0.1"
"""What its sessions are called by, so that a plan can tell which versions still run."""
