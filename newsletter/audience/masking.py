"""An address as a page may show it: its owner recognises it, and nobody else learns it."""

from __future__ import annotations


def masked(address: str) -> str:
    """`a…@example.com` for anna@example.com: the first character and the domain."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}" if at else f"{address[:1]}…"
