"""A module is left as it was found."""

import pytest
from torch import nn

from unrolled.networks import evaluating


def test_every_part_is_in_its_own_mode_again_even_after_an_error():
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    module[1][0].eval()  # as one who fine-tunes might
    modes = [part.training for part in module.modules()]
    with pytest.raises(ZeroDivisionError), evaluating(module):
        _ = 1 / any(part.training for part in module.modules())  # by zero: none of them
    assert [part.training for part in module.modules()] == modes
