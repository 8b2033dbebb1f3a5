"""The outputs of an extractor for a clip, whether it returns or yields them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musicemo.contracts import Extraction, FeatureExtractor, Output


def outputs_of(
    extractor: FeatureExtractor, samples: np.ndarray, names: Sequence[str] | None = None
) -> dict[str, Output]:
    """Return output -> its values and edges for the whole clip; by default all outputs."""
    names = list(names or extractor.outputs)
    result = extractor.extract(samples, names)
    blocks = [result] if isinstance(result, Extraction) else list(result)
    outputs = {}
    for name in names:
        parts = [block.outputs[name] for block in blocks]
        edges = np.concatenate([parts[0].edges[:1], *(part.edges[1:] for part in parts)])
        outputs[name] = Output(np.concatenate([part.values for part in parts]), edges)
    return outputs
