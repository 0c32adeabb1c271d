"""The steps: `0001_audience.py`, then `0002_….py` and so on; `HEAD` in `newsletter.store.upgrade` names the last."""
