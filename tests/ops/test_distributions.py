"""Distributions of listeners' ratings, against scipy, numerical integration and limiting cases."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from musicemo.ops import Gaussian, Levels, distribution_of

NAN = math.nan
BOTH = [Gaussian(), Levels(5)]


def outputs_of(distribution, tracks=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tracks, distribution.outputs, generator=generator, dtype=torch.float64)


def ratings_of(tracks=6, listeners=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    ratings = torch.rand(tracks, listeners, generator=generator, dtype=torch.float64)
    ratings[1:2, 1:], ratings[2:3, 2:] = NAN, NAN
    return ratings


def expected(score, ratings):
    """Return the mean over the listeners of a score of a track and a rating."""
    return torch.tensor(
        [
            np.mean([score(track, one) for one in row if one == one])
            for track, row in enumerate(ratings.tolist())
        ]
    )


def test_gaussian_likelihood_is_that_of_scipy():
    distribution, outputs, ratings = Gaussian(0.05), outputs_of(Gaussian()), ratings_of()
    mean, deviation = distribution.mean(outputs), distribution.deviation(outputs)
    torch.testing.assert_close(
        distribution.nll(outputs, ratings),
        expected(lambda track, one: -stats.norm.logpdf(one, mean[track], deviation[track]), ratings),
    )


@pytest.mark.parametrize("distribution", BOTH)
def test_crps_is_the_integral_of_the_squared_difference_of_distribution_functions(distribution):
    outputs, ratings = outputs_of(distribution, 3), ratings_of(3)
    grid = np.linspace(-8, 9, 40_001)

    def below(track):
        if isinstance(distribution, Gaussian):
            return stats.norm.cdf(
                grid, distribution.mean(outputs)[track], distribution.deviation(outputs)[track]
            )
        levels = distribution.grid(outputs).numpy()
        return outputs.softmax(1)[track].numpy() @ (grid >= levels[:, None])

    def score(track, one):
        return integrate.trapezoid((below(track) - (grid >= one)) ** 2, grid)

    torch.testing.assert_close(distribution.crps(outputs, ratings), expected(score, ratings), atol=1e-3, rtol=0)


@pytest.mark.parametrize("distribution", BOTH)
def test_mean_and_deviation_are_those_of_samples(distribution):
    outputs = outputs_of(distribution, 1)
    if isinstance(distribution, Gaussian):
        assert distribution.mean(outputs) == outputs[0, 0]
        return
    probabilities = outputs.softmax(1)[0]
    values, weights = distribution.grid(outputs), probabilities
    mean = float((values * weights).sum())
    assert float(distribution.mean(outputs)) == pytest.approx(mean)
    assert float(distribution.deviation(outputs)) == pytest.approx(
        math.sqrt(float((weights * (values - mean) ** 2).sum()))
    )


def test_shares_keep_the_mean_of_the_ratings():
    distribution, ratings = Levels(4), ratings_of()
    shares = distribution.shares(ratings)
    torch.testing.assert_close(shares.sum(1), torch.ones(6).double())
    torch.testing.assert_close(shares @ distribution.grid(ratings), ratings.nanmean(1))
    assert distribution.shares(torch.tensor([[1 / 3, 1.0]], dtype=torch.float64)).tolist() == [
        pytest.approx([0, 0.5, 0, 0.5])
    ]


def test_two_levels_are_a_logistic_regression():
    outputs, ratings = outputs_of(Levels(2)), ratings_of().round()
    logit = outputs[:, 1] - outputs[:, 0]
    torch.testing.assert_close(Levels(2).mean(outputs), logit.sigmoid())
    torch.testing.assert_close(
        Levels(2).nll(outputs, ratings),
        expected(
            lambda track, one: float(-torch.nn.functional.logsigmoid(logit[track] * (2 * one - 1))), ratings
        ),
    )


def test_probabilities_at_the_levels_are_a_density_like_that_of_a_normal_distribution():
    fine, outputs = Levels(1001), torch.tensor([[0.5, -1.5]], dtype=torch.float64)
    gaussian = Gaussian()
    density = stats.norm.logpdf(
        fine.grid(outputs).numpy(), float(gaussian.mean(outputs)), float(gaussian.deviation(outputs))
    )
    inside = stats.norm.cdf(0.5 / float(gaussian.deviation(outputs))) * 2 - 1
    ratings = ratings_of(1)
    assert float(fine.nll(torch.from_numpy(density)[None], ratings)) == pytest.approx(
        float(gaussian.nll(outputs, ratings)) + math.log(inside), abs=5e-3
    )


@pytest.mark.parametrize("distribution", BOTH)
def test_coverage_of_a_calibrated_prediction(distribution):
    random = np.random.default_rng(0)
    outputs = outputs_of(distribution, 4000)
    if isinstance(distribution, Gaussian):
        draws = random.normal(distribution.mean(outputs), distribution.deviation(outputs))
    else:
        chosen = [random.choice(5, p=one) for one in outputs.softmax(1).numpy()]
        draws = distribution.grid(outputs).numpy()[chosen]
    shares = (0.2, 0.5, 0.9)
    covered = distribution.coverage(outputs, torch.from_numpy(draws)[:, None], shares).mean(0)
    assert covered.tolist() == pytest.approx(shares, abs=0.03)


@pytest.mark.parametrize("distribution", BOTH)
def test_the_constant_prediction_is_the_best_one(distribution):
    ratings = ratings_of(200, 5)
    best = distribution.constant(ratings)

    def loss(outputs):
        every = distribution.nll(outputs.expand(len(ratings), -1), ratings)
        counts = ratings.isfinite().sum(1)
        return float((every * counts).sum() / counts.sum())

    for change in torch.eye(distribution.outputs, dtype=torch.float64) * 0.05:
        assert loss(best) <= min(loss(best + change), loss(best - change)) + 1e-9


@pytest.mark.parametrize("distribution", [Gaussian(0.02), Levels(7)])
def test_json(distribution):
    assert distribution_of(distribution.to_json()) == distribution
    with pytest.raises(KeyError):
        distribution_of({"type": "cauchy"})
