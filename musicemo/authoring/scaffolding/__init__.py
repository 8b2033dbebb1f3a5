"""Projects of their own for components: written once, from templates, and the author's from then on."""

from musicemo.authoring.scaffolding.plugin import KINDS, new_plugin

__all__ = ["KINDS", "new_plugin"]
