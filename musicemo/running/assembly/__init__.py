"""Everything that one replicate of an experiment is trained with."""

from musicemo.running.assembly.assembly import Assembly

__all__ = ["Assembly"]
