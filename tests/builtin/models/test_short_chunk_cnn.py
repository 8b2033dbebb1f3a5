import pytest
import torch
from backbone_properties import padded, tracks_of, with_statistics
from musicemo_builtin.models.short_chunk_cnn import ShortChunkCNN
from torch import nn

SMALL = {"channels": [3, 3, 5], "chunk": 16}


def reference(model, chunk):
    """The network on one chunk, with torch's own functions."""

    def normalized(h, norm):
        return nn.functional.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    h = chunk[None, None]
    for block in model.blocks:
        inner = normalized(nn.functional.conv2d(h, block.first.weight, padding=1), block.first_norm).relu()
        inner = normalized(nn.functional.conv2d(inner, block.second.weight, padding=1), block.second_norm)
        h = (inner + (h if block.shortcut is None else block.shortcut(h))).relu()
        h = nn.functional.max_pool2d(h, 2, ceil_mode=True)
    return h.amax((2, 3))


@torch.no_grad()
@pytest.mark.parametrize(
    ("steps", "starts"), [(5, [0]), (16, [0]), (17, [0, 1]), (32, [0, 16]), (40, [0, 16, 24])]
)
def test_evaluation_is_the_mean_over_all_chunks(steps, starts):
    torch.manual_seed(0)
    model = with_statistics(ShortChunkCNN(input_size=12, **SMALL), 12)
    track = tracks_of([steps], 12)[0]
    expected = torch.stack([reference(model, track[start : start + 16]) for start in starts]).mean(0)
    torch.testing.assert_close(model(*padded([track])), expected, rtol=1e-4, atol=1e-5)


def test_training_takes_one_chunk_that_begins_anywhere():
    torch.manual_seed(0)
    model = ShortChunkCNN(input_size=12, dropout=0.0, **SMALL).train()
    x, lengths = padded(tracks_of([40], 12))
    seen = set()
    for _ in range(40):
        given = x.clone().requires_grad_()
        model(given, lengths).sum().backward()
        steps = given.grad[0].abs().sum(1).nonzero().flatten()
        assert steps.max() - steps.min() < 16
        seen |= set(steps.tolist())
    assert min(seen) < 6
    assert max(seen) > 33


def test_a_short_track_and_a_long_one_go_together():
    model = with_statistics(ShortChunkCNN(input_size=12, **SMALL), 12)
    tracks = tracks_of([1, 16, 50], 12)
    together = model(*padded(tracks))
    for index, track in enumerate(tracks):
        torch.testing.assert_close(together[index : index + 1], model(*padded([track])), rtol=1e-4, atol=1e-5)


def test_dropped_blocks_are_their_shortcuts():
    torch.manual_seed(0)
    model = ShortChunkCNN(input_size=12, dropout=0.0, drop_path=0.6, **SMALL)
    assert [block.drop_path.probability for block in model.blocks] == pytest.approx([0.2, 0.4, 0.6])
    for block in model.blocks:
        block.drop_path.probability = 1 - 1e-12
    (track,) = tracks_of([16], 12)
    h = track[None, None]
    for block in model.blocks:
        h = nn.functional.max_pool2d(
            (h if block.shortcut is None else block.shortcut(h)).relu(), 2, ceil_mode=True
        )
    torch.testing.assert_close(model.train()(*padded([track])), h.amax((2, 3)))
