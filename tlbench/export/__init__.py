"""Writes the trained model of a cell into a folder, in forms that other programs read too."""

from __future__ import annotations

import sys

from tlbench.core.callable_folder import CallableFolder

sys.modules[__name__].__class__ = CallableFolder
