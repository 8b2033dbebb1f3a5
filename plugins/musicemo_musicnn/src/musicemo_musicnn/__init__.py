"""A feature extractor for musicemo: the layers and tags of MusiCNN, a network for music tagging."""

from musicemo_musicnn.tags import TAGS

__all__ = ["TAGS"]
