"""Series of runs: each chosen in the light of those before it, in a ledger; and replays of such series."""
