"""What the file of a backbone family offers.

A family is one file of ``tlbench/backbones/families/``, or a module that a distribution names under the entry points
``tlbench.backbones``. The name of the file (or entry point) is the name of the family: it stands in recipes, and where
the family's library publishes weights, a suite calls these by it (``weights: timm``, ``weights: {timm: TAG}``).

A family that knows its networks lists them by ``summaries()`` (:class:`NamedFamily`), and a suite calls each by its own
name (``resnet18``). A family whose library must be imported to list them defines no ``summaries``; a suite writes
``FAMILY:NAME`` (``timm:convnext_atto``), and ``tlbench list backbones`` prints the first line of the file's docstring.

The modules of all families are imported to list the networks, so they import torch, and other heavy libraries, only
inside functions. ``tlbench/testing/backbone_contract.py`` checks all of this for the author of a family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.info import BackboneInfo, WeightsContents

if TYPE_CHECKING:
    from torch import Tensor

    from tlbench.backbones.backbone import Backbone


class FamilyConstants(Settings):
    """The constants that the file of a family may set; any other public upper-case name in it is refused."""

    VERSION: int = Field(
        1, ge=1, description="raise it when the same recipe makes another function; part of recipes where it is not 1"
    )


@runtime_checkable
class Family(Protocol):
    """A family of backbones."""

    def describe(self, name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
        """Return the facts and the recipe of a network.

        The recipe holds ``name``, ``family`` (the file's name), ``weights`` and every option that decides what the
        network computes; equal recipes are one backbone. :mod:`tlbench.backbones.options` reads options and makes
        labels.

        Args:
            name: As in the suite; with the prefix, where the family does not list its networks.
            params: Its options, as the suite gives them.
            weights: Where its weights come from: a mapping with ``kind``, which is ``random``, ``file`` (with
                ``sha256``), ``pretrain``, or the name of this family (with ``name``: which of its published weights,
                or ``DEFAULT``).

        Raises:
            UserError: The name, an option or the weights are unknown, or do not go together; quotes what is at fault.
        """

    def construct(self, info: BackboneInfo) -> Backbone:
        """Return the network of a recipe, on the CPU, with fresh weights from torch's global CPU generator."""


@runtime_checkable
class FileReadingFamily(Family, Protocol):
    """A family whose networks are given what a file of weights says of how they were made."""

    def describe_file(
        self, name: str, params: dict[str, Any], weights: dict[str, Any], contents: WeightsContents
    ) -> BackboneInfo:
        """Return the facts and the recipe of a network whose weights lie in a file, as ``describe`` does.

        Args:
            name: As for ``describe``.
            params: As for ``describe``; what the suite does not say, the file and what is known of the network decide.
            weights: ``kind`` is ``file``.
            contents: What the file holds.

        Raises:
            UserError: As for ``describe``.
        """


@runtime_checkable
class NamedFamily(Family, Protocol):
    """A family that knows the names of its networks."""

    def summaries(self) -> Mapping[str, str]:
        """Return one line about each network by name. Imports no torch."""


@runtime_checkable
class Publisher(Family, Protocol):
    """A family whose library publishes weights."""

    def published(self, info: BackboneInfo) -> Mapping[str, Tensor]:
        """Return the weights that a recipe names, by the names of the body's parameters and buffers.

        Raises:
            UserError: They can neither be downloaded nor read.
        """


@runtime_checkable
class SelfContainedFamily(Family, Protocol):
    """A family whose networks are described by more than their recipe, which an exported model holds as well."""

    def architecture(self, info: BackboneInfo) -> dict[str, Any]:
        """Return, as a JSON-like value, what ``construct_stored`` needs beside the recipe.

        Raises:
            UserError: It is not there, or is not what the recipe was made with.
        """

    def construct_stored(self, info: BackboneInfo, architecture: dict[str, Any]) -> Backbone:
        """Return what ``construct`` does, without looking anything up."""


@runtime_checkable
class TokenizingFamily(Family, Protocol):
    """A family of text encoders that come with a tokeniser, whatever their weights."""

    def tokenizer(self, info: BackboneInfo) -> str:
        """Return the tokeniser, as JSON of the library ``tokenizers``.

        Raises:
            UserError: It cannot be loaded, or is not the one that the recipe was made with.
        """
