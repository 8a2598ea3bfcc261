"""The example application: property listings, in every shape its tables pass through."""
