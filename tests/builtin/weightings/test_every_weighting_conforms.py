"""Every registered weighting holds the contract, and trains a real network."""

import pytest

from musicemo.components import registry
from musicemo.testing import check_weighting

NAMES = [claim.name for claim in registry.claims("weighting") if claim.distribution == "musicemo"]

#: What the suite needs of a method: that its first task stays the primary one in another order; few solutions.
NEEDED = {"pcd": {"primary": "energy"}, "nash-mtl": {"optim_niter": 3}}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_with_its_defaults(name):
    check_weighting(name, NEEDED.get(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("constant", {"weights": {"valence": 0.5, "energy": 2.0, "genre": 1.0}}),
        ("famo", {"compare": "same-batch"}),
        ("gradnorm", {"of": "shared", "alpha": 0.5}),
        ("cagrad", {"c": 1.0}),
        ("fairgrad", {"alpha": 2.0}),
        ("cr-mogm", {"of": "pcgrad"}),
        ("excess-mtl", {"n_warmup_steps": 3, "robust_step_size": 0.1}),
        ("upgrad", {"preference": {"valence": 0.5, "energy": 2.0, "genre": 1.0}}),
        ("aligned-mtl", {"scale_mode": "rmse"}),
    ],
)
def test_with_other_parameters(name, parameters):
    check_weighting(name, parameters)
