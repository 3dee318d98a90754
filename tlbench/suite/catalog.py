"""What a suite may name: the methods, protocols, datasets and backbones there are, and who checks their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tlbench.core.info import BackboneInfo
from tlbench.plugins import registry
from tlbench.plugins.registry import Declare

DescribeBackbone = Callable[..., BackboneInfo]


@dataclass(frozen=True)
class JoinedDataset:
    """A dataset source that joins other datasets.

    Attributes:
        members: Its parameters that are datasets themselves. A suite that gives one of them may leave the name of the
            source out.
        options: Its other parameters.
    """

    members: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """Names and checks. Core reads methods and protocols itself; datasets and backbones lie above it and are given.

    Attributes:
        datasets: Names of the dataset sources.
        backbones: Names of the architectures.
        validate_dataset: (name, params) -> resolved params; raises UserError; opens nothing.
        describe_backbone: (name, params, weights, and what a file of weights holds) -> facts; raises UserError; imports
            no torch, unless a prefix of ``backbone_prefixes`` stands before the name.
        methods: Names of the methods.
        protocols: Names of the protocols.
        declare: Reads the declaration of a method or protocol by kind and name.
        backbone_prefixes: What stands before the names of further architectures, e.g. ``timm:``, which only
            ``describe_backbone`` knows.
        publishers: Names of the libraries that publish weights, by which suites ask for these.
        joined_datasets: The dataset sources that join others, by name.
        paired_datasets: Names of the dataset sources that have a source and a target domain.
    """

    datasets: tuple[str, ...]
    backbones: tuple[str, ...]
    validate_dataset: Callable[[str, dict[str, Any]], dict[str, Any]]
    describe_backbone: DescribeBackbone
    methods: tuple[str, ...]
    protocols: tuple[str, ...]
    declare: Declare = registry.declaration
    backbone_prefixes: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    joined_datasets: Mapping[str, JoinedDataset] = field(default_factory=dict)
    paired_datasets: tuple[str, ...] = ()

    @cached_property
    def dataset_spelling(self) -> dict[str, str]:
        """The names of the dataset sources by their small letters: suites may write them in any case."""
        return {name.lower(): name for name in self.datasets}

    def declared(self, role: str) -> tuple[str, ...]:
        """Return the names of the methods with a role, ``fit`` or ``pretrain``."""
        return tuple(name for name in self.methods if role in self.declare("methods", name).roles)

    def learns_from_teacher(self, name: str) -> bool:
        """Say whether a method reads a teacher (its constant ``TEACHER``)."""
        return self.declare("methods", name).constants.TEACHER

    def teachers(self) -> tuple[str, ...]:
        """Return the names of the methods that can train a teacher: those that train a whole network to classify."""
        return tuple(
            name
            for name in self.declared("fit")
            if "classification" in self.declare("methods", name).protocols
            and not self.declare("methods", name).constants.FROZEN_BACKBONE
            and not self.learns_from_teacher(name)
        )
