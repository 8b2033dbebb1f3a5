"""What a component must hold, for its author's tests: one call for each kind.

    from musicemo.testing import check_model

    def test_contract():
        check_model("my-crnn", {"hidden": 16})

Each takes the class, or the name that it is installed under, and its parameters as an experiment file has them; what
is broken is raised as one `ContractError`, a sentence for each clause.
"""

from musicemo.testing._contract import ContractError
from musicemo.testing.datasets import check_dataset
from musicemo.testing.hooks import check_hooks
from musicemo.testing.losses import check_loss
from musicemo.testing.models import check_model
from musicemo.testing.weightings import check_weighting

__all__ = ["ContractError", "check_dataset", "check_hooks", "check_loss", "check_model", "check_weighting"]
