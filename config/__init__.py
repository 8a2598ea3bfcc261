"""The site: settings, addresses, the embedded PostgreSQL and the demo that runs it all."""
