import pytest

from musicemo.data.provenance import overlaps


@pytest.mark.parametrize(
    ("pretrained_on", "drawn_from", "clauses"),
    [
        (["magnatune"], ["magnatune"], ["magnatune, from which the songs are drawn"]),
        (["MTT"], ["Magnatune"], ["magnatagatune, which is drawn from magnatune, as the songs are"]),
        (
            ["magnatagatune", "magnatune"],
            ["magnatune"],
            ["magnatagatune, which is drawn from magnatune, as the songs are"],
        ),
        (["fma"], ["fma", "jamendo"], ["fma, from which the songs are drawn"]),
        (["FMA_large", "mtg"], ["deam"], [
            "fma-large, which has songs of fma, as the dataset has",
            "mtg-jamendo, which has songs of jamendo, as the dataset has",
        ]),
        (["fma_full"], ["fma-small"], ["fma-full, from which the songs are drawn"]),
        (["Million Song Dataset"], ["msd"], ["msd, from which the songs are drawn"]),
        (["msd"], ["magnatune"], []),
        ([], ["magnatune"], []),
        (["msd"], [], []),
        (["my own"], ["my-own"], ["my-own, from which the songs are drawn"]),
    ],
)  # fmt: skip
def test_corpora_that_weights_and_datasets_have_in_common(pretrained_on, drawn_from, clauses):
    assert list(overlaps(pretrained_on, drawn_from)) == clauses
