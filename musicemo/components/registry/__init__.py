"""Names to components, from entry points: listing reads metadata alone, loading happens on first use."""

from musicemo.components.registry.hooks import Hooks, load_hooks
from musicemo.components.registry.names import GROUPS, Claim, claims, load, without
from musicemo.components.registry.signatures import place, schema, validate

__all__ = ["GROUPS", "Claim", "Hooks", "claims", "load", "load_hooks", "place", "schema", "validate", "without"]
