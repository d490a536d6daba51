"""Who may do what: API keys, rights, limits, and the log of what admins did. No HTTP in here."""
