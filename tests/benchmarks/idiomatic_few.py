"""The methods of ``idiomatic_loop.py`` that train few parameters of a network, as one writes them by hand.

LoRA is peft's, with the settings of peft's examples; rates are tlbench's. Nothing of tlbench is imported.
"""

from __future__ import annotations

from collections.abc import Iterable

import peft
import torch
from idiomatic_training import Job, Network, score, train
from torch import Tensor, nn
from torch.nn.functional import gelu

LOW_RANK, ADDED, VECTORS = 3e-4, 3e-4, 1e-3  # rates
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.1}  # peft's examples/sequence_classification/LoRA.ipynb
NORMS = (nn.BatchNorm2d, nn.LayerNorm)


def train_few(job: Job, network: Network, few: Iterable[nn.Parameter], rate: float) -> float:
    """Train a few parameters and the layer, nothing else."""
    network.requires_grad_(False)
    few, head = list(few), list(network.classifier.parameters())
    for parameter in (*few, *head):
        parameter.requires_grad_(True)
    groups = [{"params": few, "lr": rate}, {"params": head, "lr": 3 * rate}]
    train(network, groups, job.batches(), job.epochs)
    return score(network, job.data)


def bitfit(job: Job) -> float:
    """Train the biases."""
    network = job.network()
    biases = [p for name, p in network.body.named_parameters() if name.endswith("bias")]
    return train_few(job, network, biases, VECTORS)


def lora(job: Job) -> float:
    """Train peft's low-rank updates of query and value, or of the 1 x 1 convolutions."""
    network = job.network()
    targets: str | list[str] = ["query", "value"] if network.reads_texts else r".*\.conv_pwl?"
    network.body = peft.get_peft_model(network.body, peft.LoraConfig(**LORA, target_modules=targets))
    updates = [p for p in network.body.parameters() if p.requires_grad]
    return train_few(job, network, updates, LOW_RANK)


class Adapter(nn.Module):
    """A bottleneck whose output is added to its input, at first zero; of states, or of maps."""

    def __init__(self, width: int, maps: bool) -> None:
        super().__init__()
        inner = max(1, width // 16)
        self.down = nn.Conv2d(width, inner, 1) if maps else nn.Linear(width, inner)
        self.up = nn.Conv2d(inner, width, 1) if maps else nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the adapted input."""
        return x + self.up(gelu(self.down(x)))


def adapter(job: Job) -> float:
    """Train an adapter behind each sublayer of a transformer, or behind each block of convolutions."""
    network, added = job.network(), nn.ModuleList()
    for name, module in network.body.named_modules():
        if network.reads_texts and name.endswith("output.dense"):
            width = module.out_features
        elif type(module).__name__ in ("InvertedResidual", "DepthwiseSeparableConv"):
            width = (module.conv_pwl if hasattr(module, "conv_pwl") else module.conv_pw).out_channels
        else:
            continue
        added.append(Adapter(width, not network.reads_texts))
        module.register_forward_hook(lambda m, given, out, own=added[-1]: own(out))
    return train_few(job, network, added.parameters(), ADDED)


def ssf(job: Job) -> float:
    """Train a scale and a shift behind each layer."""
    network, added = job.network(), nn.ParameterList()
    for module in network.body.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, *NORMS)):
            shape = (-1, 1, 1) if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) else (-1,)
            width = module.weight.shape[0]
            added += [nn.Parameter(torch.ones(width).view(shape)), nn.Parameter(torch.zeros(width).view(shape))]
            module.register_forward_hook(lambda m, given, out, own=(added[-2], added[-1]): out * own[0] + own[1])
    return train_few(job, network, added, VECTORS)


FEW = {"bitfit": bitfit, "lora": lora, "adapter": adapter, "ssf": ssf}
