"""One module per kind of result: each builds the blocks of its result once, for every renderer."""
