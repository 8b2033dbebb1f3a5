"""Names to components, from entry points: listing reads metadata alone, loading happens on first use."""

from musicemo.registry.hooks import Hooks, load_hooks
from musicemo.registry.names import GROUPS, Claim, claims, load, without
from musicemo.registry.signatures import place, schema, validate

__all__ = ["GROUPS", "Claim", "Hooks", "claims", "load", "load_hooks", "place", "schema", "validate", "without"]
