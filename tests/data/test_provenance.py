import numpy as np
import pytest
from complaints import warns

from musicemo.contracts import Extraction, Output, Target, Track
from musicemo.data import Joined, TaskSettings, collect, make_task
from musicemo.data.provenance import overlaps
from musicemo.errors import InputError
from musicemo.features import Stream


@pytest.mark.parametrize(
    ("pretrained_on", "drawn_from", "clauses"),
    [
        (["magnatune"], ["magnatune"], ["magnatune, from which the dataset's songs are drawn"]),
        (["MTT"], ["Magnatune"], ["magnatagatune, which is drawn from magnatune, as the dataset's songs are"]),
        (
            ["magnatagatune", "magnatune"],
            ["magnatune"],
            ["magnatagatune, which is drawn from magnatune, as the dataset's songs are"],
        ),
        (["fma"], ["fma", "jamendo"], ["fma, from which the dataset's songs are drawn"]),
        (["FMA_large", "mtg"], ["deam"], [
            "fma-large, which has songs of fma, as the dataset has",
            "mtg-jamendo, which has songs of jamendo, as the dataset has",
        ]),
        (["fma_full"], ["fma-small"], ["fma-full, from which the dataset's songs are drawn"]),
        (["Million Song Dataset"], ["msd"], ["msd, from which the dataset's songs are drawn"]),
        (["msd"], ["magnatune"], []),
        ([], ["magnatune"], []),
        (["msd"], [], []),
        (["my own"], ["my-own"], ["my-own, from which the dataset's songs are drawn"]),
    ],
)  # fmt: skip
def test_corpora_that_weights_and_datasets_have_in_common(pretrained_on, drawn_from, clauses):
    assert list(overlaps(pretrained_on, drawn_from)) == clauses


class Seen:
    sample_rate, outputs, fingerprint = 8000, {"layer": 1}, "1"
    pretrained_on = ("magnatagatune",)

    def extract(self, samples, outputs):
        return Extraction({"layer": Output.regular(np.zeros((1, 1), np.float32), 1.0)})


class Songs:
    targets = (Target("valence", "regression"),)

    def __init__(self, *drawn_from):
        self.drawn_from = drawn_from

    def tracks(self):
        return [Track(str(index), np.zeros((4, 2), np.float32), {"valence": index / 4}) for index in range(4)]


def read(dataset):
    streams = [Stream("seen", {}, Seen)]
    task = make_task("valence", TaskSettings(), dataset.targets)
    return collect(dataset, [task], lambda tracks: (list(tracks), streams))


def test_an_overlap_is_a_warning():
    read(Songs("fma"))
    text = (
        "features 'seen': their weights have seen magnatagatune, which is drawn from magnatune, as the dataset's songs "
        "are. The metrics can be optimistic"
    )
    both = Joined({"first": Songs("fma"), "second": Songs("magnatune")}, {"valence": TaskSettings()})
    for dataset in (Songs("magnatune"), both):
        with warns() as texts:
            read(dataset)
        assert texts == [text]


def test_corpora_are_texts():
    dataset = Songs()
    dataset.drawn_from = "magnatune"
    with pytest.raises(InputError, match="drawn_from is 'magnatune'; it must be a tuple of texts"):
        read(dataset)
