"""Telling operators what happened: by webhook, by Apprise, and a heartbeat for a dead man's switch."""
