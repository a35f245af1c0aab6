"""How a weight of eight bits is chosen: the shift and factor of each column, the mixture of columns, and the rounding that
compensates its error.
"""

import pytest
import torch
import torch.nn.functional as F

from skn.int8.columns import choose_columns
from skn.int8.rounding import round_weight
from skn.model.portable.layers_skn import mixed
from skn.ops import reference


def drawn(rows, depth, outputs, seed=0):
    """Rows with correlated columns of different widths, a few of them very wide or far from zero, and a weight."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(depth, depth, generator=g) / depth**0.5
    width, middle = torch.rand(depth, generator=g) * 3, torch.zeros(depth)
    width[::17], middle[::13] = 20, 10
    return torch.randn(rows, depth, generator=g) @ mix * width + middle, torch.randn(outputs, depth, generator=g)


def product_error(rows, weight, number, scale, columns, rotated=False):
    packed = reference.pack_int8(number, scale, columns, rotated)
    exact = F.linear((rows - columns[0]).double(), weight.double())
    found = reference.linear(rows, packed, torch.zeros(len(weight)))
    return ((found - exact).square().mean() / exact.square().mean()).sqrt().item()


@pytest.mark.parametrize("depth", [40, 200])
def test_even_columns_the_mixture_and_compensated_rounding_each_lower_the_error(depth):
    rows, weight = drawn(600, depth, 33)
    plain = product_error(rows, weight, *reference.rounded_weight(weight), reference.read_as_it_is(depth))
    columns = choose_columns(rows[:400], weight)
    shift, factor = columns
    even, read = weight / factor, (rows[:400] - shift) * factor
    only_columns = product_error(rows, weight, *reference.rounded_weight(even), columns)
    rotated = product_error(rows, weight, *reference.rounded_weight(mixed(even)), columns, True)
    all_three = product_error(rows, weight, *round_weight(mixed(even), mixed(read)), columns, True)
    assert 1.1 * all_three < rotated < only_columns / 1.05 < plain / 1.4


def test_rounding_is_compensated_where_the_rows_allow_it():
    """Rows in few directions: almost nothing is lost, though every single number is rounded."""
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(500, 10, generator=g) @ torch.randn(10, 300, generator=g)
    weight = torch.randn(20, 300, generator=g)
    exact = F.linear(rows, weight)
    nearest, compensated = (
        (F.linear(rows, number * scale[:, None]) - exact).square().mean()
        for number, scale in (reference.rounded_weight(weight), round_weight(weight, rows))
    )
    assert compensated < nearest / 20


def test_rounded_weights_are_multiples_in_range():
    rows, weight = drawn(100, 130, 7)
    weight[3] = 0
    number, scale = round_weight(weight, rows)
    assert number.dtype == torch.int8 and number.abs().max() <= 127
    assert not number[3].any() and scale.isfinite().all()


def test_one_direction_of_rows_is_enough():
    number, scale = round_weight(torch.ones(3, 8), torch.zeros(5, 8))
    assert torch.allclose(number * scale[:, None], torch.ones(3, 8))
    assert choose_columns(torch.ones(5, 8), torch.ones(3, 8)).isfinite().all()
