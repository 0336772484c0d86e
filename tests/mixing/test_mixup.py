"""Test Mixup and the Beta draw that all methods share."""

import numpy as np
import pytest
import scipy.stats
import torch

from smix.mixing import Mixup
from tests.mixing.cases import images, new_generator, within

COUNT = 100_000


def shares(alpha: float) -> torch.Tensor:
    plan = Mixup(alpha=alpha).plan(torch.zeros(COUNT, 1, 2), generator=new_generator(0))
    return plan.share[plan.mixed]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0, 100.0])
def test_lambda_follows_the_beta_distribution(alpha: float):
    assert scipy.stats.kstest(shares(alpha).double().numpy(), scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.2, 0.02, 0.01])
def test_lambda_follows_the_beta_distribution_for_small_alpha(alpha: float):
    """A ratio of gamma draws would underflow. Float32 is coarse near 1, so the distribution is compared at selected points."""
    drawn, law = shares(alpha), scipy.stats.beta(alpha, alpha)
    assert within(int(((drawn > 0.4) & (drawn < 0.6)).sum()), len(drawn), law.cdf(0.6) - law.cdf(0.4))
    for point in (1e-20, 1e-6, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999):
        assert within(int((drawn <= point).sum()), len(drawn), law.cdf(point))


@pytest.mark.parametrize("alpha", [1e-3, 1e-12, 1e30])
def test_lambda_of_extreme_alphas_stays_in_the_unit_interval(alpha: float):
    drawn = shares(alpha)
    assert drawn.isfinite().all()
    assert 0 <= drawn.min() <= drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)


def test_the_mix_is_lambda_x_plus_1_minus_lambda_of_the_partner():
    x = images(7, (5, 9))
    plan = Mixup().plan(x, generator=new_generator(1))
    mixed = plan.blend(x)
    for i, (j, share) in enumerate(zip(plan.partner.tolist(), plan.share.tolist(), strict=True)):
        np.testing.assert_allclose(
            mixed[i].numpy(), share * x[i].numpy() + (1 - share) * x[j].numpy(), rtol=0, atol=1e-6
        )
    assert plan.share[plan.mixed].unique().numel() == int(plan.mixed.sum()) >= 5


def test_per_batch_draws_one_lambda():
    plan = Mixup(per_batch=True).plan(images(9, (5, 9)), generator=new_generator(0))
    assert plan.share[plan.mixed].unique().numel() == 1


def test_mixing_commutes_with_normalisation():
    x = images(7, (5, 9))
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.1]).view(3, 1, 1)
    plan = Mixup().plan(x, generator=new_generator(0))
    torch.testing.assert_close(plan.blend((x - mean) / std), (plan.blend(x) - mean) / std, rtol=1e-4, atol=1e-5)
