"""Who may use the API: tokens, what they allow, and how they are kept."""
