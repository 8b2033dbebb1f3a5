"""musicemo: experiments in music emotion recognition that can be believed, compared and repeated."""

__all__ = ["__version__"]

__version__ = "0.1.0"
