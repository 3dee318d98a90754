"""Turns what a method's ``fit`` returned into a network that can be built from a description and a file of tensors."""

from __future__ import annotations

import copy
from dataclasses import asdict
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.errors import UserError
from tlbench.inference.description import AdapterSite, NetworkDescription
from tlbench.inference.network import is_plain
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.classifier import Classifier
from tlbench.training.fewshot.centroids import centroid_logits
from tlbench.training.linear_probe import LinearProbe
from tlbench.training.nearest_neighbours import neighbour_logits
from tlbench.training.parameter_efficient.bottleneck_adapters import adapter_facts
from tlbench.training.parameter_efficient.low_rank import fold_low_rank
from tlbench.training.parameter_efficient.scaling import fold_scales
from tlbench.training.predictor import FeaturePredictor, ModulePredictor
from tlbench.worker.paired_tokens import TokenColumns


class PlainNetwork(NamedTuple):
    """A fitted network without anything of its training.

    Attributes:
        description: What stands on the backbone.
        state: All tensors by name, on the CPU.
    """

    description: NetworkDescription
    state: dict[str, Tensor]


def plain_network(fitted: object, method: str) -> PlainNetwork:
    """Return the network of a fitted method; updates and scales of its layers become part of the weights.

    Args:
        fitted: What ``fit`` returned; it stays as it is.
        method: Name of the method, for messages.

    Raises:
        UserError: It ends in something else than a network or one of the known classifiers of features.
    """
    if isinstance(fitted, FeaturePredictor):
        description, tensors = _feature_head(fitted.head, method)
        own = {f"head.{name}": tensor for name, tensor in tensors.items()}
        return PlainNetwork(description, _copied({**_prefixed(fitted.backbone), **own}))
    if not isinstance(fitted, ModulePredictor):
        raise _unknown(method, f"it returns a {type(fitted).__name__}")
    module = copy.deepcopy(fitted.module)
    if isinstance(module, BottleneckClassifier):
        bottleneck = module.bottleneck
        width = bottleneck[0].out_features if isinstance(bottleneck, nn.Sequential) else None
        description = NetworkDescription(head="bottleneck", width=width)
    elif isinstance(module, Classifier) and isinstance(module.head, nn.Linear):
        description = NetworkDescription(head="linear")
    else:
        raise _unknown(method, f"its network is a {type(module).__name__}")
    backbone = module.backbone
    fold_low_rank(backbone)
    fold_scales(backbone)
    sites = tuple(AdapterSite(**asdict(each)) for each in adapter_facts(backbone))
    plain = tuple(name for name, kernel in module.named_parameters() if kernel.ndim == 4 and is_plain(kernel))
    description = description.model_copy(update={"adapters": sites, "plain_layout": plain})
    if token_columns(fitted) is not None:
        assert isinstance(backbone.prepare, nn.Sequential)
        backbone.prepare = backbone.prepare[1]
    return PlainNetwork(description, _copied(module.state_dict()))


def token_columns(fitted: object) -> slice | None:
    """Return which columns of token ids a student reads beside its teacher; None where it reads all."""
    backbone = getattr(getattr(fitted, "module", None), "backbone", None)
    prepare = getattr(backbone, "prepare", None)
    if isinstance(prepare, nn.Sequential) and isinstance(prepare[0], TokenColumns):
        return slice(prepare[0].start, prepare[0].stop)
    return None


def _feature_head(head: object, method: str) -> tuple[NetworkDescription, dict[str, Tensor]]:
    if isinstance(head, LinearProbe):
        tensors = {"mean": head.mean, "scale": head.scale, "weights": head.weights, "bias": head.bias}
        return NetworkDescription(head="probe"), tensors
    if isinstance(head, nn.Linear):
        return NetworkDescription(head="linear"), dict(head.state_dict())
    if isinstance(head, partial) and head.func is neighbour_logits:
        given = head.keywords
        temperature = given["vote"].keywords["temperature"]
        description = NetworkDescription(head="neighbours", k=given["k"], temperature=temperature)
        return description, {"bank": given["bank"], "labels": given["labels"]}
    if isinstance(head, partial) and head.func is centroid_logits:
        transform = head.keywords["transform"].keywords
        description = NetworkDescription(head="centroids", transform=transform["kind"])
        return description, {"mean": transform["mean"], "centres": head.keywords["centres"]}
    raise _unknown(method, "its classifier of features is one of its own")


def _prefixed(backbone: Backbone) -> dict[str, Tensor]:
    return {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that share no memory, as safetensors wants them."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def _unknown(method: str, reason: str) -> UserError:
    return UserError(
        f"{method} cannot be exported: {reason}",
        "what can be is a backbone under a linear head (finetune, lora, ...), or linear_probe, knn, nearest_centroid",
    )
