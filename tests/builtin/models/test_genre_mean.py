import pytest
import torch
from estimator_properties import GENRE, TARGETS, VALENCE, predict, songs
from musicemo_builtin.models.genre_mean import GenreMean

from musicemo.contracts import Target
from musicemo.errors import InputError

MOOD = Target("mood", "classification", classes=("glad", "sad"))


def test_a_track_has_the_averages_of_its_genre():
    tracks, _ = songs(6)
    model = GenreMean(targets=[VALENCE, MOOD, GENRE])
    targets = {
        "valence": torch.tensor([0.1, 0.3, 0.5, 0.9, torch.nan, 0.7]),
        "mood": torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, torch.nan]),
        "genre": torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, torch.nan]),
    }
    model.fit(tracks, targets)
    found = predict(model, tracks, targets)
    torch.testing.assert_close(found["valence"], torch.tensor([0.2, 0.2, 0.7, 0.7, 0.7, 0.5]))
    shares = torch.tensor([[3, 1], [3, 1], [2, 3], [2, 3], [2, 3], [4, 3]])
    torch.testing.assert_close(found["mood"].softmax(1), shares / shares.sum(1, keepdim=True))


def test_the_genre_itself_is_not_told():
    tracks, targets = songs(10)
    model = GenreMean(targets=TARGETS)
    model.fit(tracks, targets)
    found = predict(model, tracks, targets)["genre"]
    torch.testing.assert_close(found.softmax(1), (torch.tensor([5, 4, 4]) / 13).expand(10, 3))


def test_a_genre_without_a_rating_has_the_mean_of_all():
    tracks, targets = songs(9)
    targets["valence"][targets["genre"] == 2] = torch.nan
    targets["genre"][targets["genre"] == 1] = 0  # and no track is of the second
    model = GenreMean(targets=TARGETS)
    model.fit(tracks, targets)
    asked = {"genre": torch.tensor([1.0, 2.0, torch.nan])}
    everyone = targets["valence"][targets["valence"].isfinite()].mean()
    torch.testing.assert_close(predict(model, tracks[:3], asked)["valence"], everyone.expand(3))


def test_what_it_goes_by_is_a_classification_task():
    with pytest.raises(
        InputError,
        match=r"`by` is 'gender', which is not a classification task; did you mean 'genre'\? .*genre",
    ):
        GenreMean(targets=TARGETS, by="gender")
    with pytest.raises(InputError, match=r"classification tasks: none"):
        GenreMean(targets=[VALENCE])
    assert GenreMean(targets=[VALENCE, MOOD], by="mood").given == ("mood",)
