"""The methods of ``idiomatic_loop.py`` that train a whole network, or a layer alone, as one writes them by hand.

Steps, batch size, rates and schedule are those of tlbench's recipe (``tlbench/training/recipe.py``, for published
weights). Nothing of tlbench is imported.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoModel, get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

BODY, HEAD, EMBEDDING = 1e-4, 1e-2, 2e-5  # rates
EPOCHS, LEAST_STEPS = 40, 200

Group = dict[str, Any]
Start = tuple[np.ndarray, np.ndarray] | None
"""Weights (classes, width) and bias (classes,) that a head starts from."""


class Network(nn.Module):
    """A body that makes features, and a linear layer of them.

    Attributes:
        body: A network of timm without its classifier, or an encoder of transformers.
        classifier: The layer; none before the classes are known.
        reads_texts: Whether it reads texts, and not images.
        width: Number of features.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.classifier, self.reads_texts = body, nn.Identity(), hasattr(body, "config")
        self.width = body.config.hidden_size if self.reads_texts else body.num_features

    def features(self, x: Any) -> Tensor:
        """Return features (B, width) of images, or the mean of the last states of texts."""
        if not self.reads_texts:
            return self.body(x)
        mask = x["attention_mask"][..., None]
        return (self.body(**x).last_hidden_state * mask).sum(1) / mask.sum(1)

    def forward(self, x: Any) -> Tensor:
        """Return logits."""
        return self.classifier(self.features(x))

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the body from the stem to the top."""
        body = self.body
        if self.reads_texts:
            parts: list[list[nn.Module]] = [[body.embeddings], *([layer] for layer in body.encoder.layer)]
        else:
            parts = [[body.conv_stem, body.bn1], *([stage] for stage in body.blocks), [body.conv_head, body.bn2]]
        return [[p for module in part for p in module.parameters()] for part in parts]


def text_network(name: str) -> Network:
    """Return an encoder of transformers."""
    return Network(AutoModel.from_pretrained(name, add_pooling_layer=False))


@dataclass
class Job:
    """What a method is given.

    Attributes:
        data: The data set, as ``idiomatic_loop.py`` has it.
        rows: The labelled training examples (n,).
        epochs: Passes over them; None: 40, or as many more as make 200 steps.
        features: Those of all training and all test examples.
        start: What the layer starts from; None: from torch's usual numbers.
    """

    data: Any
    rows: np.ndarray
    epochs: int | None
    features: tuple[np.ndarray, np.ndarray]
    start: Start = None

    @property
    def labels(self) -> np.ndarray:
        """Labels of the labelled examples."""
        return self.data.train_labels[self.rows]

    def batches(self) -> Any:
        """Return their shuffled batches."""
        return self.data.training_batches(self.rows)

    def network(self, start: Start = None) -> Network:
        """Return a copy of the network with a new layer, or one that starts from a probe."""
        network = copy.deepcopy(self.data.network)
        network.classifier = nn.Linear(network.width, int(self.labels.max()) + 1)
        if start is not None:
            for parameter, value in zip(network.classifier.parameters(), start, strict=True):
                parameter.data = torch.from_numpy(value).float()
        return network


def train(
    network: nn.Module,
    groups: list[Group],
    batches: Any,
    epochs: int | None,
    *,
    schedule: Callable[..., Any] = get_cosine_schedule_with_warmup,
    penalty: Callable[[], Tensor] | None = None,
    begin: Callable[[int], None] | None = None,
) -> None:
    """Train with AdamW, warm-up, clipped gradients, and running statistics that stay."""
    epochs = epochs or max(EPOCHS, math.ceil(LEAST_STEPS / len(batches)))
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    rates = schedule(optimizer, int(0.1 * epochs * len(batches)), epochs * len(batches))
    parameters = [parameter for group in groups for parameter in group["params"]]
    for epoch in range(epochs):
        if begin is not None:
            begin(epoch)
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        for x, y in batches:
            loss = cross_entropy(network(x), y)
            if penalty is not None:
                loss = loss + penalty()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            rates.step()


@torch.inference_mode()
def score(network: nn.Module, data: Any) -> float:
    """Return the accuracy on the test."""
    network.eval()
    right = sum(int((network(x).argmax(1) == y).sum()) for x, y in data.test_batches())
    return right / len(data.test_labels)


def all_of(network: Network, ratio: float = 3.0) -> list[Group]:
    """Return the groups of a whole network; the layer has so many times the rate."""
    return [
        {"params": list(network.body.parameters()), "lr": BODY},
        {"params": list(network.classifier.parameters()), "lr": ratio * BODY},
    ]


def finetune(job: Job) -> float:
    """Fine-tune the network; from a probe at one rate where there is one."""
    network = job.network(job.start)
    train(network, all_of(network, 3.0 if job.start is None else 1.0), job.batches(), job.epochs)
    return score(network, job.data)


def wise_ft(job: Job) -> float:
    """Fine-tune from the probe, and go half the way back."""
    network = job.network(job.start)
    before = copy.deepcopy(network.state_dict())
    train(network, all_of(network, 1.0), job.batches(), job.epochs)
    after = network.state_dict()
    mixed = {n: (v + before[n]) / 2 if v.is_floating_point() else v for n, v in after.items()}
    network.load_state_dict(mixed)
    return score(network, job.data)


def l2_sp(job: Job) -> float:
    """Fine-tune with a penalty of the distance to the weights at the start."""
    network = job.network()
    origin = [p.detach().clone() for p in network.body.parameters()]

    def penalty() -> Tensor:
        body = sum((p - o).square().sum() for p, o in zip(network.body.parameters(), origin, strict=True))
        return 0.05 * body + 0.005 * sum(p.square().sum() for p in network.classifier.parameters())

    groups = [{**group, "weight_decay": 0.0} for group in all_of(network)]
    train(network, groups, job.batches(), job.epochs, penalty=penalty)
    return score(network, job.data)


def discriminative_lr(job: Job) -> float:
    """Fine-tune with a smaller rate for each lower layer."""
    network = job.network()
    layers = network.layers()
    share = 2.6 ** (-3 / (len(layers) - 1))
    groups = [{"params": layer, "lr": BODY * share**depth} for depth, layer in enumerate(reversed(layers))]
    groups += all_of(network)[1:]
    train(network, groups, job.batches(), job.epochs, schedule=get_linear_schedule_with_warmup)
    return score(network, job.data)


def gradual_unfreezing(job: Job) -> float:
    """Train the layer, and one more layer of the body with each epoch."""
    network = job.network()
    layers = network.layers()

    def begin(epoch: int) -> None:
        for depth, layer in enumerate(reversed(layers)):
            for parameter in layer:
                parameter.requires_grad_(depth < epoch)

    groups = [{"params": layer, "lr": BODY} for layer in layers] + all_of(network)[1:]
    train(network, groups, job.batches(), job.epochs, begin=begin)
    return score(network, job.data)


def linear_head(job: Job) -> float:
    """Train the layer alone, on features."""
    z, z_test = (torch.from_numpy(part) for part in (job.features[0][job.rows], job.features[1]))
    head = nn.Linear(z.shape[1], int(job.labels.max()) + 1)
    batches = DataLoader(TensorDataset(z, torch.from_numpy(job.labels)), batch_size=32, shuffle=True)
    train(head, [{"params": list(head.parameters()), "lr": HEAD}], batches, job.epochs)
    return float((head(z_test).argmax(1).numpy() == job.data.test_labels).mean())


def setfit(job: Job) -> float:
    """Tune on pairs of examples, 20 of either kind for each and 1,000 steps of 16 pairs at most; then fit a probe."""
    network, y, rng = job.network(), job.labels, np.random.default_rng(0)
    firsts = np.tile(np.arange(len(y)), 20)
    pairs = [
        (a, rng.choice(np.flatnonzero((y == y[a]) == same)), float(same)) for a in firsts for same in (True, False)
    ]
    order = rng.permutation(len(pairs))[: 16 * 1000]
    steps = math.ceil(len(order) / 16)
    optimizer = torch.optim.AdamW(network.body.parameters(), lr=EMBEDDING)
    rates = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    network.train()
    for part in np.array_split(order, steps):
        first, second, target = zip(*(pairs[place] for place in part), strict=True)
        sides = [embed(network, job, list(side)) for side in (first, second)]
        loss = mse_loss(cosine_similarity(*sides), torch.tensor(target))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.body.parameters(), 1.0)
        optimizer.step()
        rates.step()
    network.eval()
    with torch.inference_mode():
        z = embed(network, job, range(len(y))).numpy()
        z_test = np.concatenate([network.features(x).numpy() for x, _ in job.data.test_batches()])
    return float(LogisticRegression(max_iter=2000).fit(z, y).score(z_test, job.data.test_labels))


def embed(network: Network, job: Job, places: Sequence[int]) -> Tensor:
    """Return the features of some of the labelled examples."""
    return network.features(job.data.collate([(job.data.train[job.rows[place]], 0) for place in places])[0])


TRAINED = {
    "finetune": finetune,
    "lp_ft": finetune,
    "wise_ft": wise_ft,
    "l2_sp": l2_sp,
    "discriminative_lr": discriminative_lr,
    "gradual_unfreezing": gradual_unfreezing,
    "linear_head": linear_head,
    "setfit": setfit,
}
