"""Model cards: a whole model in words and numbers a reviewer can check, as a TOML file."""
