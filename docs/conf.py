"""How Sphinx builds these pages: ``uv run --group docs sphinx-build -W -b html docs build/docs``."""

from __future__ import annotations

import sys
from pathlib import Path

import tlbench

sys.path.insert(0, str(Path(__file__).parent))
import reference

project = "tlbench"
author = "The tlbench authors"
project_copyright = "The tlbench authors, Apache-2.0"
release = tlbench.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "tlbench"
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

nb_execution_mode = "off"  # the notebook keeps the outputs of its last run; a test runs it
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
add_module_names = False
suppress_warnings = ["mystnb.unknown_mime_type"]

reference.write(Path(__file__).parent / "reference")
