"""What every backbone must hold, as assertions."""

import torch


def padded(tracks):
    """Return `x` `[batch, time, feature]`, zero after each track, and `lengths`."""
    lengths = torch.tensor([len(track) for track in tracks])
    return torch.nn.utils.rnn.pad_sequence(tracks, batch_first=True), lengths


def tracks_of(lengths, size, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, size, generator=generator, dtype=dtype) for length in lengths]


def with_statistics(model, size):
    """Give batch normalization other running statistics than the initial ones, where a bug would not show."""
    model.train()
    with torch.no_grad():
        model(*padded([track * 2 + 0.5 for track in tracks_of([30, 50, 41, 64], size, seed=9)]))
    return model.eval()


@torch.no_grad()
def assert_padding_independence(model, tracks, extra=0):
    """A track has the same embedding alone and in a batch, however far that is padded."""
    model.eval()
    x, lengths = padded(tracks)
    together = model(torch.nn.functional.pad(x, (0, 0, 0, extra)), lengths)
    alone = torch.cat([model(*padded([track])) for track in tracks])
    assert together.shape == (len(tracks), model.embedding_size)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def assert_permutation_equivariance(model, tracks):
    """The order of a batch is the order of its embeddings, and nothing more."""
    model.eval()
    x, lengths = padded(tracks)
    order = torch.randperm(len(tracks), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(x[order], lengths[order]), model(x, lengths)[order], rtol=1e-4, atol=1e-5)


def assert_trains(model, tracks):
    """A finite gradient reaches every parameter, and every track."""
    model.train()
    x, lengths = padded(tracks)
    x.requires_grad_()
    torch.manual_seed(0)
    embedding = model(x, lengths)
    (embedding * torch.randn(embedding.shape)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    assert x.grad.isfinite().all()
    assert (x.grad.abs().amax((1, 2)) > 0).all()


@torch.no_grad()
def assert_dropout_off_in_evaluation(make, tracks):
    """Dropout acts in training alone."""
    model = make(dropout=0.9)
    model.train()
    assert (model(*padded(tracks)) == 0).float().mean() > 0.5
    model.eval()
    assert torch.equal(model(*padded(tracks)), model(*padded(tracks)))
