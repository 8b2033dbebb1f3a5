import hashlib

import numpy as np
import pytest
from fakes import MemoryDataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from musicemo.data import PARTS, Split, SplitSettings, make_split, read_split, strata
from musicemo.errors import InputError

METHODS = ("random", "stratified", "grouped", "kfold")


def ids(count: int) -> list[str]:
    return [f"t{index}" for index in range(count)]


def cut(count: int, codes=None, groups=None, official=None, fold=None, **options) -> Split:
    codes = np.zeros(count, dtype=np.intp) + 1 if codes is None else np.asarray(codes, dtype=np.intp)
    return make_split(
        SplitSettings(**options), ids(count), codes, groups or [None] * count, official or [None] * count, fold
    )


def attempt(*arguments, **options) -> Split | str:
    """Return the split, or what was said against it."""
    try:
        return cut(*arguments, **options)
    except InputError as error:
        return str(error)


def assert_partition(split: Split, count: int) -> None:
    everyone = np.concatenate([split.parts[part] for part in PARTS])
    assert sorted(everyone) == list(range(count))
    assert all((np.diff(split.parts[part]) > 0).all() for part in PARTS)


def assert_groups_apart(split: Split, groups) -> None:
    sides = [{groups[index] for index in split.parts[part]} for part in PARTS]
    assert len(set.union(*sides)) == sum(len(side) for side in sides)


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(
    method=st.sampled_from(("random", "stratified")),
    count=st.integers(1, 200),
    validation=st.floats(0, 0.99),
    test=st.floats(0, 0.99),
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(1, 4),
)
def test_parts_are_disjoint_and_cover_everything(method, count, validation, test, seed, classes):
    assume(validation + test < 1)
    options = {"method": method, "validation": validation, "test": test, "seed": seed}
    codes = np.arange(count) % classes + 1
    split = attempt(count, codes, **options)
    if isinstance(split, str):
        smallest = min(share for share in (validation, test, 1 - validation - test) if share)
        assert count * smallest < 2 * classes, split
        return
    assert_partition(split, count)
    # Two cuts, each of which rounds up to a whole track.
    assert abs(len(split.parts["test"]) - count * test) <= 1
    assert abs(len(split.parts["val"]) - count * validation) <= 2
    again = cut(count, codes, **options)
    assert again.to_json() == split.to_json()


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    kfold=st.booleans(),
    sizes=st.lists(st.integers(1, 6), min_size=3, max_size=30),
    test=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
    classes=st.integers(1, 3),
    folds=st.integers(2, 6),
)
def test_groups_never_stand_on_two_sides(kfold, sizes, test, seed, classes, folds):
    groups = [f"artist{index}" for index, size in enumerate(sizes) for _ in range(size)]
    order = np.random.default_rng(seed).permutation(len(groups))
    groups = [groups[index] for index in order]
    codes = np.random.default_rng(seed).integers(1, classes + 1, len(groups))
    method = (
        {"method": "kfold", "grouped": True, "folds": folds} if kfold else {"method": "grouped", "test": test}
    )
    split = attempt(len(groups), codes, groups, seed=seed, validation=0.2, **method)
    if isinstance(split, str):
        assert "groups" in split
        assert len(sizes) < 2 * folds + 2 or test * len(sizes) < 3, split
        return
    assert_partition(split, len(groups))
    assert_groups_apart(split, groups)
    assert len(split.parts["test"])
    assert len(split.parts["val"])


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(count=st.integers(10, 100), folds=st.integers(2, 6), seed=st.integers(0, 100), classes=st.integers(1, 5))
def test_the_test_parts_of_the_folds_partition_the_tracks(count, folds, seed, classes):
    codes = np.random.default_rng(seed).integers(1, classes + 1, count)
    made = [
        cut(count, codes, fold=fold, method="kfold", folds=folds, seed=seed, validation=0)
        for fold in range(folds)
    ]
    for split in made:
        assert_partition(split, count)
        assert not len(split.parts["val"])
    tested = np.concatenate([split.parts["test"] for split in made])
    assert sorted(tested) == list(range(count))
    sizes = [len(split.parts["test"]) for split in made]
    assert max(sizes) - min(sizes) <= classes


def test_folds_are_those_of_scikit_learn_in_dataset_order():
    codes = np.random.default_rng(3).integers(1, 5, 83)
    expected = list(StratifiedKFold(5, shuffle=True, random_state=0).split(np.zeros(83), codes))
    for fold, (rest, test) in enumerate(expected):
        split = cut(83, codes, fold=fold, method="kfold", validation=0)
        assert np.array_equal(split.parts["test"], test)
        assert np.array_equal(split.parts["train"], rest)


def test_the_fold_of_the_settings_counts_where_none_is_asked_for():
    one = make_split(SplitSettings(method="kfold", fold=2), ids(50), np.ones(50, int), [None] * 50, [None] * 50)
    two = make_split(SplitSettings(method="kfold"), ids(50), np.ones(50, int), [None] * 50, [None] * 50, 2)
    assert one.to_json() == two.to_json()


def test_classes_rarer_than_folds_raise_no_warning():
    codes = [1] * 20 + [2] * 2
    assert_partition(cut(22, codes, method="kfold", folds=5, validation=0), 22)
    # No class is as large as the number of folds: plain folds.
    assert_partition(cut(8, range(1, 9), method="kfold", folds=4, validation=0), 8)
    groups = [f"g{index}" for index in range(8)]
    assert_partition(cut(8, range(1, 9), groups, method="kfold", folds=4, grouped=True, validation=0), 8)


def test_the_defaults_cut_sixty_tracks_three_to_one_to_one():
    for method in ("random", "stratified"):
        split = cut(60, method=method)
        assert [len(split.parts[part]) for part in PARTS] == [36, 12, 12]


def test_strata_have_equal_shares_in_every_part():
    codes = np.repeat([1, 2, 3], [100, 50, 10])
    split = cut(160, codes, method="stratified")
    for part, size in zip(PARTS, (96, 32, 32), strict=True):
        counts = np.bincount(codes[split.parts[part]], minlength=4)[1:]
        assert np.abs(counts - np.array([100, 50, 10]) * size / 160).max() <= 1


def test_ratings_are_stratified_by_bins():
    values = np.random.default_rng(0).beta(2, 5, 500)
    codes = strata(values, regression=True, bins=5)
    assert np.bincount(codes).tolist() == [0, 100, 100, 100, 100, 100]
    split = cut(500, codes, method="stratified")
    for part in PARTS:
        assert abs(values[split.parts[part]].mean() - values.mean()) < 0.02
        counts = np.bincount(codes[split.parts[part]])[1:]
        assert counts.max() - counts.min() <= 1


def test_strata():
    nan = np.nan
    assert strata(np.array([0, 2, nan, 1]), regression=False, bins=5).tolist() == [1, 3, 0, 2]
    assert strata(np.array([0.1, 0.9, nan]), regression=True, bins=2).tolist() == [1, 2, 0]
    assert strata(np.array([0.5, 0.5, 0.5]), regression=True, bins=5).tolist() == [2, 2, 2]
    assert strata(np.array([nan, nan]), regression=True, bins=5).tolist() == [0, 0]
    assert strata(np.array([nan, nan]), regression=False, bins=5).tolist() == [0, 0]
    assert strata(np.array([]), regression=True, bins=5).tolist() == []


@pytest.mark.parametrize("missing", [1, 2, 3, 10])
def test_a_few_missing_targets_do_not_hinder_a_stratified_split(missing):
    values = np.random.default_rng(0).uniform(size=100)
    values[:missing] = np.nan
    split = cut(100, strata(values, regression=True, bins=5), method="stratified")
    assert_partition(split, 100)


def test_a_split_does_not_depend_on_global_randomness():
    np.random.seed(1)  # noqa: NPY002  # the point
    one = [cut(50, method=method, groups=ids(50)).to_json() for method in METHODS]
    np.random.seed(2)  # noqa: NPY002  # the point
    assert [cut(50, method=method, groups=ids(50)).to_json() for method in METHODS] == one
    other = [cut(50, method=method, groups=ids(50), seed=1).to_json() for method in METHODS]
    assert all(first != second for first, second in zip(one, other, strict=True))


def test_official():
    official = ["train", "val", "test", "train"]
    split = cut(4, official=official, method="official")
    assert {part: split.track_ids(part) for part in PARTS} == {
        **{"train": ["t0", "t3"], "val": ["t1"], "test": ["t2"]}
    }


def test_official_without_a_validation_part_cuts_one_off():
    official = ["train"] * 40 + ["test"] * 10
    split = cut(50, np.arange(50) % 2 + 1, official=official, method="official", validation=0.25)
    assert split.parts["test"].tolist() == list(range(40, 50))
    assert len(split.parts["val"]) == 10
    assert_partition(split, 50)
    assert not len(cut(50, official=official, method="official", validation=0).parts["val"])


def test_of_the_memory_dataset():
    tracks = list(MemoryDataset().tracks())
    split = cut(60, official=[track.part for track in tracks], method="official")
    assert [len(split.parts[part]) for part in PARTS] == [36, 12, 12]


# Errors.


@pytest.mark.parametrize(
    ("official", "said"),
    [
        (["train"] * 4, "the official split has 4 tracks to train and 0 tracks to test with a label"),
        (["val", "test"] * 2, "the official split has 0 tracks to train and 2 tracks to test"),
        (["train", "test", None, "test"], "1 tracks are not in the official split, for example 't2'"),
        (["train", "test", "validation", "dev"], "2 tracks are not in the official split, for example 't2'"),
    ],
)
def test_official_errors(official, said):
    with pytest.raises(InputError, match=said) as caught:
        cut(4, official=official, method="official")
    assert "random, stratified, grouped, kfold" in str(caught.value)


@pytest.mark.parametrize(
    ("count", "options", "said"),
    [
        (1, {"method": "random"}, "1 tracks are too few for a test set of 20%"),
        (
            2,
            {"method": "random", "test": 0.9, "validation": 0},
            "2 tracks are too few for a test set of 90%",
        ),
        (2, {"method": "random"}, "1 tracks are too few for a validation set of 25%"),
        (3, {"method": "kfold"}, "3 tracks cannot be split into 5 folds"),
        (0, {"method": "random"}, "0 tracks are too few"),
        (0, {"method": "stratified"}, "0 tracks are too few"),
        (0, {"method": "kfold"}, "0 tracks cannot be split"),
    ],
)
def test_too_few_tracks(count, options, said):
    with pytest.raises(InputError, match=said):
        cut(count, **options)


@pytest.mark.parametrize(
    ("codes", "test", "said"),
    [
        (
            [1] * 20 + [2],
            0.2,
            "cannot draw a stratified test set of 20% from 21 tracks in 2 strata, the smallest of 1",
        ),
        ([1, 2, 3] * 3, 0.2, "from 9 tracks in 3 strata, the smallest of 3"),
        ([1] * 20 + [2, 2], 0.5, "cannot draw a stratified validation set of 40% from 11 tracks in 2 strata"),
    ],
)
def test_strata_that_are_too_small(codes, test, said):
    with pytest.raises(InputError, match=said) as caught:
        cut(len(codes), codes, method="stratified", test=test)
    assert 'set method = "random"' in str(caught.value)


def test_missing_groups():
    for options in ({"method": "grouped"}, {"method": "kfold", "grouped": True}):
        with pytest.raises(
            InputError, match=r"2 tracks have no group, for example 't1', but a grouped split requires one"
        ):
            cut(4, groups=["a", None, "b", None], **options)


def test_too_few_groups():
    with pytest.raises(InputError, match="1 groups are too few for a test set of 20%"):
        cut(4, groups=["a"] * 4, method="grouped")
    with pytest.raises(InputError, match="2 groups cannot be split into 5 folds"):
        cut(4, groups=["a", "a", "b", "b"], method="kfold", grouped=True)


def test_a_group_that_is_more_than_its_share_leaves_no_fold_empty():
    groups = ["a"] * 20 + ["b", "c"]
    for fold in range(3):
        split = cut(22, groups=groups, method="kfold", grouped=True, folds=3, validation=0, fold=fold)
        assert len(split.parts["test"])


def test_an_empty_fold_is_an_error(monkeypatch):
    monkeypatch.setattr(
        "musicemo.data.splits._balance", lambda labels, items, parts, folds: np.zeros_like(parts)
    )
    with pytest.raises(InputError, match="fold 1 of 2 is empty: the groups are too few or too unequal"):
        cut(4, groups=list("abcd"), method="kfold", grouped=True, folds=2, fold=1)


@pytest.mark.parametrize("seed", range(5))
def test_folds_of_groups_have_equal_sizes_and_classes(seed):
    """Twenty artists of three songs, five artists a class: each fold can have one artist of each class."""
    groups = [f"artist{index // 3}" for index in range(60)]
    codes = np.arange(60) // 15 + 1
    for fold in range(5):
        split = cut(60, codes, groups, method="kfold", grouped=True, validation=0, fold=fold, seed=seed)
        assert np.bincount(codes[split.parts["test"]]).tolist() == [0, 3, 3, 3, 3]


def test_folds_of_unequal_groups_are_as_equal_as_can_be():
    sizes = [9, 1, 8, 2, 7, 3, 6, 4, 5, 5]
    groups = [f"g{index}" for index, size in enumerate(sizes) for _ in range(size)]
    tested = [
        len(cut(50, groups=groups, method="kfold", grouped=True, validation=0, fold=fold).parts["test"])
        for fold in range(5)
    ]
    assert tested == [10] * 5


def test_repeated_folds_are_other_divisions():
    cuts = [
        cut(40, method="kfold", folds=4, repeats=3, validation=0, fold=fold).parts["test"] for fold in range(12)
    ]
    for repeat in range(3):
        assert sorted(np.concatenate(cuts[4 * repeat : 4 * repeat + 4])) == list(range(40))
    assert len({tuple(one) for one in cuts}) == 12
    with pytest.raises(ValidationError, match="fold 12 does not exist: 12 folds are numbered from 0"):
        SplitSettings(method="kfold", folds=4, repeats=3, fold=12)


def test_a_track_on_two_sides_is_an_error():
    def parts(train, val, test):
        return {"train": np.array(train), "val": np.array(val, dtype=int), "test": np.array(test)}

    Split(parts([0], [1], [2]), ids(3))
    with pytest.raises(InputError, match="track 't1' is in more than one set of the split"):
        Split(parts([0, 1], [], [1, 2]), ids(3))
    with pytest.raises(InputError, match="track 't0' is in more than one set of the split"):
        Split(parts([0, 0], [], [1, 2]), ids(3))
    with pytest.raises(InputError, match="the training set is empty"):
        Split(parts(np.array([], dtype=int), [0], [1, 2]), ids(3))


# The hash.


def test_the_hash_does_not_depend_on_the_order_of_tracks():
    one = Split({"train": np.array([0, 1]), "val": np.array([2]), "test": np.array([3])}, ids(4))
    two = Split({"train": np.array([3, 2]), "val": np.array([1]), "test": np.array([0])}, ids(4)[::-1])
    assert one.hashes == two.hashes
    assert set(one.hashes) == {*PARTS, "all"}


def test_the_hash_tells_parts_apart():
    def hashes(train, val, test):
        return Split(
            {"train": np.array(train), "val": np.array(val, dtype=int), "test": np.array(test)}, ids(4)
        ).hashes

    base = hashes([0, 1], [2], [3])
    assert hashes([0, 2], [1], [3])["all"] != base["all"]
    assert hashes([0, 1], [3], [2])["all"] != base["all"]
    assert hashes([0, 1], [3], [2])["train"] == base["train"]
    assert hashes([0, 1], [], [3])["all"] != base["all"]


def test_the_hash_is_frozen():
    """So that runs of several versions can be compared: SHA-256 of the JSON of the sorted ids."""
    split = Split(
        {"train": np.array([0, 1]), "val": np.array([2]), "test": np.array([3])}, ["b", "a", "ü", "d"]
    )
    assert split.hashes["train"] == "3554d2b8a1e34099053865de8576d1460b807430ec8c6b85315c9607ba93d308"
    assert split.to_json() == {"hash": split.hashes, "train": ["b", "a"], "val": ["ü"], "test": ["d"]}


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("count", [40, 57, 400])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_cuts_are_those_of_scikit_learn(seed, count, share):
    """Splits are made without it, and those of recorded runs must come out again."""
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

    random = np.random.default_rng([seed, count])
    strata = random.permutation(np.arange(count) % 4 * (np.arange(count) % 3 > 0) + 1)
    groups = random.integers(5 + count // 9, size=count)
    splitters = {
        "random": ShuffleSplit,
        "stratified": StratifiedShuffleSplit,
        "grouped": GroupShuffleSplit,
    }
    for method, splitter in splitters.items():
        settings = SplitSettings(method=method, test=share, validation=0, seed=seed)
        split = make_split(
            settings, [str(i) for i in range(count)], strata, [f"{g:03d}" for g in groups], [None] * count
        )
        labels = groups if method == "grouped" else None
        rest, cut = next(splitter(1, test_size=share, random_state=seed).split(strata, strata, labels))
        assert split.parts["train"].tolist() == sorted(rest), method
        assert split.parts["test"].tolist() == sorted(cut), method


def tagged(count: int, seed: int = 0) -> np.ndarray:
    """Return 0 and 1 of five tags, the first rare; the last 10 tracks are without a label."""
    values = (np.random.default_rng(seed).uniform(size=(count, 5)) < [0.05, 0.1, 0.2, 0.3, 0.5]).astype(float)
    values[-10:] = np.nan
    return values


def test_the_strata_of_tags():
    nan = np.nan
    values = np.array([[1.0, 0.0], [nan, 1.0], [nan, nan]])
    assert strata(values, regression=False, bins=5).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_iterative_stratification_gives_every_set_its_share_of_each_tag(seed):
    codes = strata(tagged(400, seed), regression=False, bins=5)
    split = cut(400, codes, method="stratified", seed=seed)
    assert_partition(split, 400)
    for part, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        assert abs(len(split.parts[part]) - share * 400) < 8
        assert (np.abs(codes[split.parts[part]].sum(axis=0) - share * codes.sum(axis=0)) <= 2.5).all(), part
    again = cut(400, codes, method="stratified", seed=seed)
    assert split.hashes == again.hashes
    assert split.hashes != cut(400, codes, method="stratified", seed=seed + 9).hashes


def test_tags_of_single_tracks_are_dealt_first():
    """Two tracks have a tag that no other has: each side gets one."""
    codes = np.zeros((20, 2), dtype=np.intp)
    codes[:, 0] = 1
    codes[[3, 4], 1] = 1
    split = cut(20, codes, method="stratified", validation=0, test=0.5)
    assert [codes[split.parts[part], 1].sum() for part in ("train", "test")] == [1, 1]
    assert len(split.parts["test"]) == 10


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_of_tags(grouped):
    codes = strata(tagged(200), regression=False, bins=5)
    groups = [f"artist {index // 4}" for index in range(200)]
    made = [
        cut(200, codes, groups, fold=fold, method="kfold", folds=4, validation=0.1, grouped=grouped)
        for fold in range(4)
    ]
    assert sorted(np.concatenate([split.parts["test"] for split in made])) == list(range(200))
    for split in made:
        assert_partition(split, 200)
        assert (np.abs(codes[split.parts["test"]].sum(axis=0) - codes.sum(axis=0) / 4) <= 4).all()
        if grouped:
            assert_groups_apart(split, groups)


@pytest.mark.parametrize(
    "text",
    [
        '{"train": ["a", "b"], "val": [], "test": ["7"]}',
        '{"hash": {"all": "0"}, "train": ["a", "b"], "test": [7]}',
        "id,part\na,train\nb,train\n7,test\n",
        "\ufeffid\tpart\tartist\na\ttrain\tx\nb\ttrain\ty\n7\ttest\tz\n",
    ],
)
def test_the_file_of_a_split(tmp_path, text):
    (tmp_path / "split").write_text(text, encoding="utf-8")
    assert read_split(tmp_path / "split") == {"a": "train", "b": "train", "7": "test"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"training": []}', "it has no list train"),
        ('{"train": "a"}', "train is not a list of ids"),
        ('{"train": ["a"', "cannot be read as a split: .*JSON with lists of ids train, val and test"),
        ("id,part\na,dev\n", "line 2 has no id, or a part other than train, val, test"),
        ('{"train": ["a"], "test": ["a"]}', "'a' is in more than one set of the split \\(train and test\\)"),
    ],
)
def test_files_that_are_not_splits(tmp_path, text, message):
    (tmp_path / "split").write_text(text)
    with pytest.raises(InputError, match=message):
        read_split(tmp_path / "split")
    with pytest.raises(InputError, match="No such file"):
        read_split(tmp_path / "nowhere")


def test_tracks_that_a_file_does_not_list_are_in_no_set():
    parts = ["train"] * 5 + ["test"] * 2 + [None] * 3
    split = cut(10, official=parts, method="file", path="split.json", validation=0)
    assert {part: split.parts[part].tolist() for part in PARTS} == {
        "train": [0, 1, 2, 3, 4],
        "val": [],
        "test": [5, 6],
    }
    with_validation = cut(10, official=parts, method="file", path="split.json", validation=0.2)
    assert [len(with_validation.parts[part]) for part in PARTS] == [4, 1, 2]


def test_a_file_belongs_to_its_method():
    with pytest.raises(ValueError, match='method = "file" needs path'):
        SplitSettings(method="file")
    with pytest.raises(ValueError, match='path is only for method = "file", not "random"'):
        SplitSettings(method="random", path="split.json")


def test_drawing_together_is_scikit_learns_cut_of_a_cut():
    split = cut(61, method="random", together=True, validation=0.15, test=0.25, seed=42)
    rest, drawn = train_test_split(ids(61), test_size=0.4, random_state=42)
    test, val = train_test_split(drawn, test_size=0.15 / 0.4, random_state=42)
    assert {part: set(split.track_ids(part)) for part in PARTS} == {
        **{"train": set(rest), "val": set(val), "test": set(test)}
    }
    with pytest.raises(InputError, match="1 tracks are too few"):
        cut(1, method="random", together=True)


def test_the_validation_set_of_an_official_split_can_be_drawn_at_random():
    official = ["test" if index % 5 == 0 else "train" for index in range(50)]
    split = cut(50, np.arange(50) % 7, official=official, method="official", draw="random", seed=42)
    rest = [name for name, part in zip(ids(50), official, strict=True) if part == "train"]
    _, val = train_test_split(rest, test_size=0.2, random_state=42)
    assert set(split.track_ids("val")) == set(val)


def test_folds_without_shuffling_are_consecutive():
    for fold, (rest, test) in enumerate(KFold(10).split(np.zeros(77))):
        split = cut(77, fold=fold, method="kfold", folds=10, shuffle=False, validation=0)
        assert np.array_equal(split.parts["test"], test)
        assert np.array_equal(split.parts["train"], rest)
    with pytest.raises(InputError, match="5 tracks cannot be split into 10 folds"):
        cut(5, method="kfold", folds=10, shuffle=False)


#: Checksums that FIPS 180-1 and its implementations publish as examples, of "abc" and of an empty text.
PUBLISHED = {
    "abc": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
}


def test_a_validation_set_by_checksum_depends_on_each_groups_name_only():
    groups = [f"Artist {'abcdefghij'[index % 10]}" for index in range(40)]
    official = ["test"] * 4 + ["train"] * 36
    one = cut(40, groups=groups, official=official, method="official", draw="group-hash")
    assert_partition(one, 40)
    assert one.track_ids("test") == ids(4)
    rest = [groups[index] for index in one.parts["train"]]
    assert not {groups[index] for index in one.parts["val"]} & set(rest)
    more = cut(30, groups=groups[:30], official=official[:30], method="official", draw="group-hash", seed=9)
    assert set(more.track_ids("val")) == set(one.track_ids("val")) & set(ids(30))


@pytest.mark.parametrize(
    ("name", "letters"), [(" ABC!", "abc"), ("Ábc", "bc"), ("東京 42", ""), ("A  b\tc", "a b c")]
)
def test_only_the_ascii_letters_of_a_name_count(name, letters):
    digest = PUBLISHED.get(letters) or hashlib.sha1(letters.encode()).hexdigest()
    high = int(digest, 16) % 10 >= 8
    split = cut(
        11,
        groups=[name, *"abcdefghij"],
        method="official",
        official=["train"] * 10 + ["test"],
        draw="group-hash",
    )
    assert ("t0" in split.track_ids("val")) == high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "random", "draw": "random"}, 'draw is only for method = "official" or "file" or "kfold"'),
        ({"method": "kfold", "together": True}, 'together is only for method = "random"'),
        ({"method": "random", "shuffle": False}, 'shuffle is only for method = "kfold"'),
        ({"method": "kfold", "shuffle": False, "grouped": True}, "cannot be combined"),
        ({"method": "kfold", "shuffle": False, "repeats": 2}, "cannot be combined"),
        ({"method": "official", "draw": "group-hash", "validation": 0.25}, "in steps of 0.1"),
    ],
)
def test_options_of_other_methods_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        SplitSettings(**options)


def test_a_checksum_needs_groups():
    with pytest.raises(InputError, match="3 tracks have no group, for example 't0'"):
        cut(4, official=["train"] * 3 + ["test"], method="official", draw="group-hash")
    with pytest.raises(InputError, match="the checksums of 1 groups give no validation set"):
        cut(4, groups=["x"] * 4, official=["train"] * 3 + ["test"], method="official", draw="group-hash")
