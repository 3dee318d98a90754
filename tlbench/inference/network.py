"""Builds the network of an exported model from its description and its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import construct
from tlbench.core.errors import UserError
from tlbench.inference.description import AdapterSite, Description
from tlbench.inference.heads import FeatureClassifier, feature_head
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.classifier import Classifier
from tlbench.training.parameter_efficient.bottleneck_adapters import AdaptedModule, Bottleneck, InputTap

State = Mapping[str, Tensor]


def build_network(description: Description, state: State) -> nn.Module:
    """Return the network, on the CPU, in evaluation mode, without gradients.

    Args:
        description: What it is.
        state: Its tensors.

    Raises:
        UserError: The tensors are not those of the network that is described, or a library that it needs is missing.
    """
    backbone = construct(description.backbone_info, description.architecture)
    with torch.random.fork_rng(devices=[]):
        add_described_adapters(backbone, description.network.adapters)
    network, classes = description.network, len(description.classes)
    model: nn.Module
    try:
        if network.head == "linear":
            model = Classifier(backbone, classes)
        elif network.head == "bottleneck":
            model = BottleneckClassifier(backbone, classes, network.width)
        else:
            own = {name.removeprefix("head."): tensor for name, tensor in state.items() if name.startswith("head.")}
            model = FeatureClassifier(backbone, feature_head(network, classes, own))
        add_missing_parameters(model, state)
        model.load_state_dict(dict(state))
        set_plain_layout(model, network.plain_layout)
    except (RuntimeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the weights are not those of the network that is described: {reason}", _AGAIN) from error
    _check_classes(model, description, state)
    return model.eval().requires_grad_(False)


def add_described_adapters(backbone: Backbone, sites: tuple[AdapterSite, ...]) -> None:
    """Insert adapters with any weights into a backbone, in place, where a description has them.

    Raises:
        UserError: The backbone has no such module.
    """
    for site in sites:
        try:
            tap = None
            if site.tap:
                tap = InputTap(backbone.body.get_submodule(site.tap))
                backbone.replace(site.tap, tap)
            adapter = Bottleneck(
                site.inputs, site.outputs, site.width, site.activation, site.channels_first, torch.Generator()
            )
            inner = backbone.body.get_submodule(site.module)
            backbone.replace(site.module, AdaptedModule(inner, adapter, site.scale, site.parallel, tap))
        except AttributeError as error:
            raise UserError(f"{backbone.info.label}: has no module {site.module!r}", _AGAIN) from error


def add_missing_parameters(model: nn.Module, state: State) -> None:
    """Give layers the scales and shifts that they have by now and were made without, as merging SSF leaves them."""
    own = model.state_dict().keys()
    for name in state.keys() - own:
        parent, _, last = name.rpartition(".")
        try:
            module = model.get_submodule(parent)
        except AttributeError:
            continue
        if last in module._parameters and module._parameters[last] is None:
            module.register_parameter(last, nn.Parameter(state[name].clone()))


def is_plain(kernel: Tensor) -> bool:
    """Return whether a kernel (out, in, height, width) lies in memory channels first."""
    there, plain = kernel.stride(), torch.empty(kernel.shape, device="meta")
    last = plain.to(memory_format=torch.channels_last)
    return there == plain.stride() and there != last.stride()


def set_plain_layout(model: nn.Module, names: Sequence[str]) -> None:
    """Lay kernels out in memory channels first, in place.

    Args:
        model: The network.
        names: Names of parameters (out, in, height, width).
    """
    for name in names:
        parameter = model.get_parameter(name)
        # Not contiguous(): a kernel of 1 x 1 is so in either layout.
        parameter.data = torch.empty(parameter.shape).copy_(parameter.data)


def _check_classes(model: nn.Module, description: Description, state: State) -> None:
    """Refuse class names that are not as many as the classifier tells apart."""
    kind = description.network.head
    count = len(description.classes)
    found = {"probe": "head.bias", "centroids": "head.centres"}.get(kind)
    if found is not None:
        count = state[found].shape[0 if kind == "probe" else 1]
    elif kind == "neighbours":
        count = max(count, int(state["head.labels"].max()) + 1)
    if count != len(description.classes):
        raise UserError(f"the classifier tells {count} classes apart, and {len(description.classes)} are named", _AGAIN)


_AGAIN = "the files of the folder do not belong together: export the model again"
