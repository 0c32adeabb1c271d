"""The terminal: one file per command group; parses, calls the pipeline, prints. No logic."""

from newsletter.cli.app import main

__all__ = ["main"]
