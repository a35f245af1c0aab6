"""Partial tau against Kendall's formula for one control and a plain inverse for many."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from skn import ops
from skn.errors import InputError
from skn.rsa.partial_tau import Partial


@pytest.fixture
def columns():
    """Neurons [66, 5] and attributes [66, 4], related, with ties."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(66, 1, generator=generator, dtype=torch.float64)
    x, y = (common + torch.randn(66, n, generator=generator, dtype=torch.float64) for n in (5, 4))
    return x.mul(4).round(), y.mul(3).round()


def test_one_control_is_kendalls_formula(columns):
    x, y = columns[0], columns[1][:, :2]
    tau, between = ops.kendall_tau(x, y)[0], ops.kendall_tau(y, y)[0][0, 1]
    found = Partial(y, ["a", "b"])(tau)
    one, other = tau.T
    right = (one - other * between) / ((1 - other**2) * (1 - between**2)).sqrt()
    np.testing.assert_allclose(found[:, 0], right, atol=1e-13)


def test_many_controls_are_the_inverse_of_the_whole_matrix(columns):
    x, y = columns
    found = Partial(y, list("abcd"))(ops.kendall_tau(x, y)[0])
    for i in range(x.shape[1]):
        together = torch.cat([x[:, i : i + 1], y], dim=1)
        inverse = np.linalg.inv(ops.kendall_tau(together, together)[0].numpy())
        right = -inverse[0, 1:] / np.sqrt(inverse[0, 0] * inverse.diagonal()[1:])
        np.testing.assert_allclose(found[i], right, atol=1e-12)


def test_p_is_that_of_ppcor(columns):
    y = columns[1]
    n = 66 - 3
    z = 0.2 / np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))
    np.testing.assert_allclose(Partial(y, list("abcd")).parametric_p(np.array([0.2])), norm.sf(z), rtol=1e-12)


def test_constant_neurons_stay_without_a_value(columns):
    x, y = columns
    x[:, 2] = 1
    found = Partial(y, list("abcd"))(ops.kendall_tau(x, y)[0])
    assert torch.isnan(found[2]).all() and not torch.isnan(found[[0, 1, 3, 4]]).any()


@pytest.mark.parametrize("copy", [lambda v: v, lambda v: -v, lambda v: v**3])
def test_attributes_that_determine_each_other_are_named(columns, copy):
    y = torch.cat([columns[1], copy(columns[1][:, 1:2])], dim=1)
    with pytest.raises(InputError, match="attributes 'b' and 'e' determine each other"):
        Partial(y, list("abcde"))


def test_what_cannot_be_partial(columns):
    y = columns[1]
    with pytest.raises(InputError, match="give two attributes or more"):
        Partial(y[:, :1], ["a"])
    with pytest.raises(InputError, match="4 pairs of conditions are too few for 3 controls"):
        Partial(y[:4], list("abcd"))
    with pytest.raises(InputError, match="attribute 'c' is the same for all pairs"):
        Partial(torch.where(torch.arange(4) == 2, 1.0, y), list("abcd"))
