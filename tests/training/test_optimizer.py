"""SGD is that of torch.optim, bit for bit, and costs no compiler."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from randprune_core.training.optimizer import SGD

RULES = [
    {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    {"momentum": 0.0, "nesterov": False, "weight_decay": 1e-2},
]


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 4))
    return model.to(memory_format=torch.channels_last)


def train(model, optimizer, rates) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        model(torch.randn(16, 3, 6, 6, generator=generator)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("rule", RULES)
def test_equals_the_sgd_of_torch_bit_for_bit(rule):
    rates = (0.1, 0.1, 0.01, 0.01)
    model, twin = network(), network()
    ours = train(model, SGD(model.parameters(), lr=1.0, **rule), rates)
    theirs = train(
        twin, torch.optim.SGD(twin.parameters(), lr=1.0, fused=True, foreach=False, **rule), rates
    )
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_rate_may_be_a_tensor():
    model, twin = network(), network()
    ours = train(model, SGD(model.parameters(), lr=0.0, **RULES[0]), [torch.tensor(0.05)] * 2)
    plain = train(twin, SGD(twin.parameters(), lr=0.0, **RULES[0]), [0.05] * 2)
    assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(ours, plain, strict=True))


def test_goes_on_from_its_state_bit_for_bit():
    model = network()
    first = SGD(model.parameters(), lr=0.1, **RULES[0])
    train(model, first, [0.1, 0.1])
    twin = copy.deepcopy(model)
    second = SGD(twin.parameters(), lr=0.1, **RULES[0])
    second.load_state_dict(first.state_dict())
    whole, resumed = train(model, first, [0.1]), train(twin, second, [0.1])
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_refuses_the_state_of_another_network():
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1, **RULES[0])
    with pytest.raises(ValueError, match="zip"):
        optimizer.load_state_dict({"momentum": optimizer.state_dict()["momentum"][:-1]})


def test_a_parameter_without_a_gradient_stays():
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = SGD([used, unused], lr=0.1, **RULES[0])
    used.sum().backward()
    optimizer.step()
    assert torch.equal(unused, torch.ones(3)) and (used < 1).all()


def test_gradients_become_zero_where_they_are_to_stay():
    weight = nn.Parameter(torch.ones(3))
    optimizer = SGD([weight], lr=0.1, **RULES[0])
    weight.sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(weight.grad, torch.zeros(3))
    optimizer.zero_grad()
    assert weight.grad is None


def test_training_does_not_import_the_compiler_of_torch():
    code = (
        "import sys; from conftest import tiny; from randprune_core.training.train import fit; "
        "fit(tiny(epochs=1), device='cpu'); print('torch._dynamo' in sys.modules)"
    )
    here = Path(__file__).parent.parent
    search = {"PYTHONPATH": f"{here.parent}{os.pathsep}{here}"}
    options = {"env": os.environ | search, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", code], **options)
    assert done.stdout.strip() == "False", done.stderr
