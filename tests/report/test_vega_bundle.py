"""The drawing library is bundled once, and never ends the script that it stands in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbench.report.vega_bundle import library


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is bundled, in a home that has nothing yet; whoever bundles empties it."""
    import vl_convert

    scripts = ["window.vegaEmbed = 1;"]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda _: scripts.pop())
    return scripts


def test_the_library_is_bundled_once(bundled: list[str], tmp_path: Path) -> None:
    assert library() == library() == "window.vegaEmbed = 1;"
    assert [path.name.partition("-")[0] for path in (tmp_path / ".cache" / "tlbench").iterdir()] == ["vega"]


def test_where_nothing_can_be_kept_it_is_bundled_anew(bundled: list[str], tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("no folder")
    assert library() == "window.vegaEmbed = 1;"
    bundled.append("another")
    assert library() == "another"


def test_what_would_end_the_script_is_refused_and_not_kept(bundled: list[str], tmp_path: Path) -> None:
    bundled[:] = ["fine", "a = '</SCRIPT>'"]
    with pytest.raises(ValueError, match="cannot stand"):
        library()
    assert library() == "fine"
    (kept,) = (tmp_path / ".cache" / "tlbench").iterdir()
    kept.write_text("<!-- changed by somebody")
    with pytest.raises(ValueError, match="cannot stand"):
        library()
