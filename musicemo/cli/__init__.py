"""The command line: one file per command group; each parses, prints and exits."""

from musicemo.cli._app import main

__all__ = ["main"]
