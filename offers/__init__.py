"""The demo's second application: offers on homes, whose prices are texts that buyers typed."""
