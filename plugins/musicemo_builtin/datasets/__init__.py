"""Built-in datasets, one per file, registered by the entry points in `pyproject.toml`."""
