import torch
from estimator_properties import TARGETS, predict, songs
from musicemo_builtin.models.mean import Mean


def test_it_predicts_the_mean_and_the_smoothed_shares_of_the_classes():
    tracks, targets = songs(10)
    targets["valence"][0] = torch.nan
    targets["genre"][:] = torch.tensor([0.0] * 6 + [1.0] * 3 + [torch.nan])
    model = Mean(targets=TARGETS)
    model.fit(tracks, targets)
    found = predict(model, tracks, targets)
    torch.testing.assert_close(found["valence"], targets["valence"][1:].mean().expand(10))
    expected = torch.tensor([7, 4, 1]) / 12
    torch.testing.assert_close(found["genre"].softmax(1), expected.expand(10, 3))


def test_it_predicts_the_smoothed_shares_of_the_tags():
    tracks, targets = songs(10)
    targets["mood"] = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, torch.nan]] * 7)
    model = Mean(targets=TARGETS)
    model.fit(tracks, targets)
    shares = predict(model, tracks, targets)["mood"].sigmoid()
    torch.testing.assert_close(shares, torch.tensor([4 / 12, 1 / 5]).expand(10, 2))


def test_no_track_is_read():
    def refuse():
        raise AssertionError
        yield

    Mean(targets=TARGETS).fit(refuse(), songs(10)[1])
