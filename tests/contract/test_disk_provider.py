"""What the disk provider writes, beyond what every provider must do."""

from __future__ import annotations

import csv
from pathlib import Path

from provider_examples import RENDERED, batch, recipient

from newsletter.providers.disk import DiskProvider


class TestDisk:
    def test_it_keeps_the_first_messages_and_lists_everybody(self, tmp_path: Path) -> None:
        provider = DiskProvider("disk", tmp_path, eml=2)
        provider.submit(batch(recipient(1), recipient(2, "=SUM(A1)")), RENDERED)
        provider.submit(batch(recipient(3), number=2), RENDERED)
        provider.close()
        assert sorted(file.name for file in (tmp_path / "messages").iterdir()) == ["0001.eml", "0002.eml"]
        with (tmp_path / "recipients.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["email"] for row in rows] == ["p1@example.com", "p2@example.com", "p3@example.com"]
        assert [row["batch"] for row in rows] == ["1", "1", "2"]
        assert rows[1]["name"] == "'=SUM(A1)"  # a spreadsheet would run it
        assert rows[2]["eml"] == ""
