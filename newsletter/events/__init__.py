"""What comes back about mail that went out: provider webhooks, bounce messages, complaints, clicks and opens."""
