"""Built-in models, one per file, registered by the entry points in `pyproject.toml`."""
