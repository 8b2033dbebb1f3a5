"""Built-in lifecycle plugins, one per file, registered by the entry points in `pyproject.toml`."""
