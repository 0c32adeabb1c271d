"""Runs, batches and outcomes, and what is asked of a mail provider."""
