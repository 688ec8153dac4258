"""How far to trust a posterior: held-out runs, comparisons of laws, what the runs identify."""
