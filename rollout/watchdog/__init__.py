"""The watchdog: what happens by itself, each duty in one list (``duties``) that ``loop`` walks."""
