"""What a suite may name: the methods, protocols, datasets and backbones there are, and who checks their parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tlbench.core import registry
from tlbench.core.info import BackboneInfo
from tlbench.core.registry import Declaration, Kind

Declare = Callable[[Kind, str], Declaration]
DescribeBackbone = Callable[[str, dict[str, Any], dict[str, Any]], BackboneInfo]


@dataclass(frozen=True)
class Catalog:
    """Names and checks. Core reads methods and protocols itself; datasets and backbones lie above it and are given.

    Attributes:
        datasets: Names of the dataset sources.
        backbones: Names of the architectures.
        validate_dataset: (name, params) -> resolved params; raises UserError; opens nothing.
        describe_backbone: (name, params, weights) -> facts; raises UserError; imports no torch.
        methods: Names of the methods.
        protocols: Names of the protocols.
        declare: Reads the declaration of a method or protocol by kind and name.
    """

    datasets: tuple[str, ...]
    backbones: tuple[str, ...]
    validate_dataset: Callable[[str, dict[str, Any]], dict[str, Any]]
    describe_backbone: DescribeBackbone
    methods: tuple[str, ...]
    protocols: tuple[str, ...]
    declare: Declare = registry.declaration

    def declared(self, role: str) -> tuple[str, ...]:
        """Return the names of the methods with a role, ``fit`` or ``pretrain``."""
        return tuple(name for name in self.methods if role in self.declare("methods", name).roles)
