"""The drawing library of the page: Vega, Vega-Lite and vega-embed as one script, bundled once on a machine and kept."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from tlbench.store.atomic_write import write_file


def library() -> str:
    """Return the script, fit to stand inside a page.

    Bundling takes over a second, so it is kept in ``~/.cache/tlbench``, where that can be written.

    Raises:
        ValueError: The script holds what would end it there.
    """
    import vl_convert

    kept = Path("~/.cache/tlbench").expanduser() / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError):
        return _fit(kept.read_text(encoding="utf-8"))
    script = _fit(str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")))
    with suppress(OSError):
        _keep(script, kept)
    return script


def _fit(script: str) -> str:
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("the drawing library cannot stand inside a page")
    return script


def _keep(script: str, path: Path) -> None:
    """Put the script there whole: another process may read it at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, script, durable=False)
