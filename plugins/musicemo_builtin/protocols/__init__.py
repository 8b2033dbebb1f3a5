"""Published protocols: for each a TOML file, and a function that returns its path."""

from pathlib import Path

__all__ = [
    "deam_dynamic",
    "deam_music2emo",
    "emomusic",
    "emomusic_music2emo",
    "emopia",
    "mtg_jamendo",
    "pmemo",
    "pmemo_dynamic",
    "pmemo_music2emo",
]

_FOLDER = Path(__file__).parent


def deam_dynamic() -> Path:
    """DEAM, valence and arousal over time: the split of MediaEval 2015."""
    return _FOLDER / "deam-dynamic.toml"


def deam_music2emo() -> Path:
    """DEAM, valence and arousal of a song: the random split of Music2Emo."""
    return _FOLDER / "deam-music2emo.toml"


def emomusic() -> Path:
    """emoMusic, valence and arousal of a clip: MARBLE's EMO, with the artist-hashed validation set of jukemir."""
    return _FOLDER / "emomusic.toml"


def emomusic_music2emo() -> Path:
    """emoMusic, valence and arousal of a clip: the test set of MARBLE's EMO, with Music2Emo's validation set."""
    return _FOLDER / "emomusic-music2emo.toml"


def emopia() -> Path:
    """EMOPIA, quadrant, valence half and arousal half of a clip: the authors' split."""
    return _FOLDER / "emopia.toml"


def mtg_jamendo() -> Path:
    """MTG-Jamendo, tags of mood and theme: split 0, as in MediaEval 2019 to 2021 and MARBLE."""
    return _FOLDER / "mtg-jamendo.toml"


def pmemo() -> Path:
    """PMEmo, valence and arousal of a chorus: the authors' ten folds."""
    return _FOLDER / "pmemo.toml"


def pmemo_dynamic() -> Path:
    """PMEmo, valence and arousal over time: the authors' 77 test songs."""
    return _FOLDER / "pmemo-dynamic.toml"


def pmemo_music2emo() -> Path:
    """PMEmo, valence and arousal of a chorus: the random split of Music2Emo."""
    return _FOLDER / "pmemo-music2emo.toml"
