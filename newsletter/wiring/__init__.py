"""The only place that picks concrete parts: which provider, which templates, which keys, which database."""

from __future__ import annotations

from newsletter.wiring.databases import backup_database, copy_database, upgrade_database
from newsletter.wiring.issues import (
    branching_values,
    dry_run_issue,
    dry_run_provider,
    one_mail,
    prepared,
    request,
    synced_audience,
)
from newsletter.wiring.parts import (
    audience_store,
    database,
    ledger,
    settings,
    signing_keys,
    template_roots,
    tracking_store,
)
from newsletter.wiring.pruning import give_room_back, prunable, prune_database

__all__ = [
    "audience_store",
    "backup_database",
    "branching_values",
    "copy_database",
    "database",
    "dry_run_issue",
    "dry_run_provider",
    "give_room_back",
    "ledger",
    "one_mail",
    "prepared",
    "prunable",
    "prune_database",
    "request",
    "settings",
    "signing_keys",
    "synced_audience",
    "template_roots",
    "tracking_store",
    "upgrade_database",
]
