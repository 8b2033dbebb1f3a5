"""Statistics of tracks against numpy."""

import numpy as np
import torch
from backbone_properties import padded, tracks_of
from hypothesis import given, settings
from hypothesis import strategies as st
from musicemo_builtin.models._statistics import pooled


def reference(track):
    x = track.double().numpy()
    differences = np.diff(x, axis=0).std(0) if len(x) > 1 else np.zeros(x.shape[1])
    return np.concatenate([x.mean(0), x.std(0), np.percentile(x, 10, 0), np.percentile(x, 90, 0), differences])


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5), extra=st.integers(0, 9))
def test_five_statistics_are_those_of_numpy_however_far_tracks_are_padded(lengths, extra):
    tracks = tracks_of(lengths, 4)
    x, lengths = padded(tracks)
    found = pooled(torch.nn.functional.pad(x, (0, 0, 0, extra)), lengths)
    np.testing.assert_allclose(found.numpy(), [reference(track) for track in tracks], rtol=1e-4, atol=1e-5)


def test_chosen_statistics_are_those_columns_of_all():
    x, lengths = padded(tracks_of([7, 1, 4], 3))
    columns = pooled(x, lengths).split(3, 1)
    for names, numbers in ((["mean", "std"], [0, 1]), (["change", "p90"], [4, 3])):
        expected = torch.cat([columns[number] for number in numbers], 1)
        assert torch.equal(pooled(x, lengths, names), expected)
