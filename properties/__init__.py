"""The example application: property listings, in every shape its tables pass through."""

# Part of its sessions' names, so that a plan can tell which versions still run.
VERSION = "0.1"
