"""Adam that does not import torch's compiler, which takes about a second.

The methods of torch's optimizers are wrapped for `torch.compile`, and the first call of one imports
the whole compiler. The wrapped methods themselves compute the same numbers.
"""

from __future__ import annotations

from inspect import unwrap

import torch


class Adam(torch.optim.Adam):
    """torch.optim.Adam, bit for bit. Its step cannot be compiled."""

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    load_state_dict = unwrap(torch.optim.Adam.load_state_dict)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))
