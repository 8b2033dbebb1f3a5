"""Drafts of experiments and of plugins."""
