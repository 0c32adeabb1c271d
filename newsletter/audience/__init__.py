"""Who an issue goes to: addresses, subscribers, consent, and everyone left out with the reason."""
