"""Adam, without the second that torch takes to load its compiler.

The methods of torch's optimizers are wrapped for `torch.compile`: the first of them to be called
imports the whole compiler, in every process that trains. The methods within do the same arithmetic.
"""

from __future__ import annotations

from inspect import unwrap

import torch


class Adam(torch.optim.Adam):
    """torch.optim.Adam, bit for bit; its step is not to be compiled."""

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    load_state_dict = unwrap(torch.optim.Adam.load_state_dict)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))
