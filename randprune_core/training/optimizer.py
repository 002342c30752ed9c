"""SGD as the protocol has it, in the one fused kernel that `torch.optim.SGD(fused=True)` calls too.

`torch.optim` imports the compiler of PyTorch on first use, which nothing here needs: measured with
torch 2.15, 150 MB and 3 s in every process that trains, where this takes 1 MB and 0.01 s. The
numbers are the same to the last bit.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter


class SGD:
    """Stochastic gradient descent with momentum and weight decay on every parameter.

    Attributes are named and shaped as those of `torch.optim.SGD`: `param_groups` holds one group
    with its `lr`, a number, or a tensor on the device (which a captured step reads anew each time);
    `state[parameter]["momentum_buffer"]` starts at zero.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        *,
        lr: float | Tensor,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ):
        self.state = {p: {"momentum_buffer": torch.zeros_like(p)} for p in parameters}
        self.param_groups = [{"params": list(self.state), "lr": lr}]
        self._rule = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient; gradients are left as they are."""
        moved = [parameter for parameter in self.state if parameter.grad is not None]
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in moved]
        torch._fused_sgd_(
            moved,
            [parameter.grad for parameter in moved],
            buffers if self._rule["momentum"] else [],
            **self._rule,
            lr=self.param_groups[0]["lr"],
            dampening=0.0,
            maximize=False,
            is_first_step=False,  # a buffer of zeros is as good as none
        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: `set_to_none` frees their memory, otherwise they become zero."""
        for parameter in self.state:
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def state_dict(self) -> dict[str, list[Tensor]]:
        """The momentum of every parameter, in their order; the learning rate is not part of it."""
        return {"momentum": [each["momentum_buffer"] for each in self.state.values()]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Take over a `state_dict`, in place; raises `ValueError` for another network's."""
        for each, value in zip(self.state.values(), state["momentum"], strict=True):
            each["momentum_buffer"].copy_(value)
