"""What a suite may name on this installation: every method, protocol, dataset source and architecture that it finds."""

from __future__ import annotations

from tlbench.backbones import catalog as backbones
from tlbench.data import catalog as data
from tlbench.plugins import registry
from tlbench.suite.catalog import Catalog, JoinedDataset


def full_catalog() -> Catalog:
    """Return the catalog of everything that is installed."""
    return Catalog(
        datasets=data.names(),
        backbones=backbones.names(),
        validate_dataset=data.validate,
        describe_backbone=backbones.describe,
        methods=registry.names("methods"),
        protocols=registry.names("protocols"),
        backbone_prefixes=backbones.prefixes(),
        publishers=backbones.publishers(),
        joined_datasets={name: JoinedDataset(*parameters) for name, parameters in data.joined().items()},
        paired_datasets=data.paired(),
    )
