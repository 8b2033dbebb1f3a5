import math

import pytest
import torch
from backbone_properties import assert_trains, padded, tracks_of
from musicemo_builtin.models.transformer import Transformer, _positions
from torch import nn

from musicemo.errors import InputError

SMALL = {"width": 8, "heads": 2, "layers": 2, "dropout": 0.0}
POOLINGS = ("mean", "attention", "cls")


def reference(model, track):
    """Return the tokens of a short track by torch's own layers."""
    z = model.project(track.unflatten(0, (-1, model.stride)).flatten(1)) + _positions(
        len(track) // model.stride, 8, None
    )
    for layer in model.layers:
        norm, first, _, _, second = layer.dense
        theirs = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
        theirs.load_state_dict(
            {
                "self_attn.in_proj_weight": layer.query_key_value.weight,
                "self_attn.in_proj_bias": layer.query_key_value.bias,
                "self_attn.out_proj.weight": layer.output.weight,
                "self_attn.out_proj.bias": layer.output.bias,
                **{f"linear1.{name}": value for name, value in first.named_parameters()},
                **{f"linear2.{name}": value for name, value in second.named_parameters()},
                **{f"norm1.{name}": value for name, value in layer.attention_norm.named_parameters()},
                **{f"norm2.{name}": value for name, value in norm.named_parameters()},
            }
        )
        z = theirs.to(z.dtype)(z[None])[0]
    return model.norm(z)


@pytest.mark.parametrize("stride", [1, 3])
def test_is_a_stack_of_encoder_layers(stride):
    torch.manual_seed(0)
    model = Transformer(input_size=5, stride=stride, **SMALL)
    tracks = tracks_of([12, 6], 5)
    expected = [reference(model, track) for track in tracks]
    torch.testing.assert_close(model(*padded(tracks)), torch.stack([tokens.mean(0) for tokens in expected]))
    steps = model.sequence(*padded(tracks))
    torch.testing.assert_close(steps[0], expected[0].repeat_interleave(stride, 0))
    torch.testing.assert_close(steps[1, :6], expected[1].repeat_interleave(stride, 0))


def test_positions_are_sines_and_cosines():
    p = _positions(50, 6, None)
    for i in range(3):
        rate = 10000 ** (-2 * i / 6)
        torch.testing.assert_close(
            p[7, 2 * i : 2 * i + 2], torch.tensor([math.sin(7 * rate), math.cos(7 * rate)])
        )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_windows_do_not_depend_on_each_other(pooling):
    """A track of 3 windows in a batch with one of 1; a change in the last window changes no token of the others."""
    torch.manual_seed(0)
    model = Transformer(input_size=5, window=4, pooling=pooling, **SMALL)
    tracks = tracks_of([11, 4], 5)
    x, lengths = padded(tracks)
    steps = model.sequence(x, lengths)
    x[0, 9] += 1
    changed = (model.sequence(x, lengths) != steps).any(2)
    assert changed[0].tolist() == [False] * 8 + [True] * 3
    assert not changed[1].any()


def test_a_long_window_is_one_window():
    torch.manual_seed(0)
    model, x = Transformer(input_size=5, window=9, pooling="cls", **SMALL), torch.randn(2, 9, 5)
    whole = model(x, torch.tensor([9, 9]))
    model.window = 500
    torch.testing.assert_close(model(x, torch.tensor([9, 9])), whole)
    model.window = 8
    assert not torch.allclose(model(x, torch.tensor([9, 9])), whole)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_trains(pooling):
    torch.manual_seed(0)
    assert_trains(
        Transformer(input_size=5, pooling=pooling, window=6, stride=2, **SMALL), tracks_of([17, 1, 8], 5)
    )


def test_dropout_is_off_in_evaluation():
    model = Transformer(input_size=5, width=8, heads=2, dropout=0.5).train()
    tracks = padded(tracks_of([9, 3], 5))
    assert not torch.equal(model(*tracks), model(*tracks))
    assert torch.equal(model.eval()(*tracks), model(*tracks))


@pytest.mark.slow
def test_learns_the_order_of_two_sounds():
    """Both classes have the same steps, of which the mean and any bag of steps know nothing."""
    torch.manual_seed(0)
    model, head = Transformer(input_size=2, width=16, heads=2, layers=2, dropout=0.0), nn.Linear(16, 2)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 0.01)
    label = torch.arange(64) % 2
    x = 0.1 * torch.randn(64, 12, 2)
    first = torch.randint(6, (64,))
    rows = torch.arange(64)
    x[rows, first, label] += 3
    x[rows, first + 1 + torch.randint(5, (64,)), 1 - label] += 3
    for _ in range(50):
        optimizer.zero_grad()
        logits = head(model(x, torch.full((64,), 12)))
        nn.functional.cross_entropy(logits, label).backward()
        optimizer.step()
    assert (logits.argmax(1) == label).float().mean() > 0.95


@pytest.mark.parametrize(("width", "heads"), [(10, 4), (9, 3)])
def test_a_width_that_does_not_fit(width, heads):
    with pytest.raises(InputError, match=f"even multiple of `heads`, {heads}, not {width}"):
        Transformer(input_size=5, width=width, heads=heads)


def test_dropped_layers_pass_tokens_on():
    torch.manual_seed(0)
    model = Transformer(input_size=5, drop_path=0.6, **SMALL)
    assert [layer.drop_path.probability for layer in model.layers] == pytest.approx([0.3, 0.6])
    for layer in model.layers:
        layer.drop_path.probability = 1 - 1e-12
    (track,) = tracks_of([9], 5)
    tokens = model.norm(model.project(track) + _positions(9, 8, None))
    torch.testing.assert_close(model.train()(*padded([track])), tokens.mean(0)[None])
