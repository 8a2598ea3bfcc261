"""The watchdog: a list of periodic duties (``duties``) that ``loop`` walks."""
