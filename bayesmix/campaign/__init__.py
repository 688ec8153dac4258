"""Campaigns: runs chosen one after the other and kept in a ledger; replays of recorded runs."""
