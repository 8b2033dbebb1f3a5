"""Convert a TensorFlow checkpoint of MusiCNN: ``python -m musicemo_musicnn.convert FOLDER FILE.npz``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from musicemo_musicnn.weights import content_hash, load_weights


def main() -> None:
    """Write the network's variables, without those of the optimizer, and print their hash."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder with .index and .data-00000-of-00001")
    parser.add_argument("file", type=Path, help="the file to write, .npz")
    arguments = parser.parse_args()
    weights = load_weights(arguments.folder)
    np.savez_compressed(arguments.file, **weights)  # type: ignore[arg-type]  # the stubs take a name for allow_pickle
    sys.stdout.write(f"{content_hash(weights)}\n")


if __name__ == "__main__":
    main()
