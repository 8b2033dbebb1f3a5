"""A first experiment for somebody's data: what ``musicemo init`` writes."""

from musicemo.authoring.draft._draft import Draft, draft_experiment

__all__ = ["Draft", "draft_experiment"]
