"""Which run next: candidates, what they would teach, what that is worth, and a ledger of those asked for."""
