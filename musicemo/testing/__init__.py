"""Contract checks for the tests of plugin authors: one function per kind of component.

    from musicemo.testing import check_model

    def test_contract():
        check_model("my-crnn", {"hidden": 16})

Each function takes the class, or its installed name, and its parameters as in an experiment file. All violations are
raised as one `ContractError`, with one sentence per clause.
"""

from musicemo.testing._contract import ContractError
from musicemo.testing.augmentations import check_augmentation
from musicemo.testing.datasets import check_dataset
from musicemo.testing.features import check_features
from musicemo.testing.hooks import check_hooks
from musicemo.testing.launchers import check_launcher
from musicemo.testing.losses import check_loss
from musicemo.testing.models import check_model
from musicemo.testing.sharings import check_sharing
from musicemo.testing.weightings import check_weighting

__all__ = [
    "ContractError",
    "check_augmentation",
    "check_dataset",
    "check_features",
    "check_hooks",
    "check_launcher",
    "check_loss",
    "check_model",
    "check_sharing",
    "check_weighting",
]
