"""Built-in launchers, one a file, found through the entry points in `pyproject.toml`."""
