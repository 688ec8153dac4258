"""Choice of the next runs: candidates, acquisition functions, costs and proposals."""
