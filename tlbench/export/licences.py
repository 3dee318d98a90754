"""The licences of weights and data, as far as their libraries state them."""

from __future__ import annotations

from typing import Any

from tlbench.core.cell import BackboneChoice

NOT_STATED = "not stated"


def weights_licence(backbone: BackboneChoice) -> str:
    """Return the licence of a backbone's weights; of published ones that their library states none for, ``not stated``.

    Args:
        backbone: The backbone, whose weights are there.
    """
    kind, name = backbone.info.weights, backbone.info.name
    if kind == "random":
        return "none: they start from random numbers"
    if kind == "pretrain":
        return "none: they were trained here"
    stated: Any = None
    if kind == "timm":
        import timm

        tag = backbone.info.recipe["weights"]["name"]
        configuration = timm.get_pretrained_cfg(f"{name.partition(':')[2]}.{tag}")
        stated = getattr(configuration, "license", None)
    return str(stated) if stated else NOT_STATED
