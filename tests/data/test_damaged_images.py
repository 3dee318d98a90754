"""Images that are damaged, or whose EXIF is: turned as they are to be shown, or refused by name, never a traceback."""

from __future__ import annotations

import io
import logging
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from image_formats import DRAWN, MADE, WIDE, saved
from PIL import Image, ImageOps
from test_folder import fill, opened

from tlbench.core.errors import UserError
from tlbench.data.image_decoding import read_header, read_image
from tlbench.store.artifacts import Artifacts


def exif(orientation: int, *, broken: bool) -> bytes:
    """Return EXIF with an orientation, and with a resolution that is a text where ``broken``."""
    entries = [(0x0112, 3, 1, orientation.to_bytes(2, "little") + bytes(2))]
    if broken:
        entries.append((0x011A, 2, 4, b"odd\0"))
    body = b"".join(
        tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + count.to_bytes(4, "little") + value
        for tag, kind, count, value in entries
    )
    head = b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little")
    return b"Exif\0\0" + head + body + bytes(4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_pillow_turns_them(orientation: int) -> None:
    data = saved("JPEG", exif=exif(orientation, broken=False))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))).transpose(2, 0, 1)
    assert np.array_equal(read_image(data, "x", 3, None), expected)
    assert read_header(data, "x") == (expected.shape[1:], False)
    broken = saved("JPEG", exif=exif(orientation, broken=True))
    assert np.array_equal(read_image(broken, "x", 3, None), expected)
    assert read_header(broken, "x") == (expected.shape[1:], False)


def test_the_made_exif_is_one_that_pillow_cannot_write_again() -> None:
    image = Image.open(io.BytesIO(saved("JPEG", exif=exif(6, broken=True))))
    with pytest.raises(Exception, match="abs"):
        ImageOps.exif_transpose(image)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_there_are_not_mean_upright(value: int) -> None:
    data = saved("JPEG", exif=exif(value, broken=False))
    assert np.array_equal(read_image(data, "x", 3, None), read_image(saved("JPEG"), "x", 3, None))


def test_a_folder_with_such_a_photo_is_read(tmp_path: Path) -> None:
    root = fill(tmp_path / "set", ["a", "b"])
    (root / "a" / "phone.jpg").write_bytes(saved("JPEG", exif=exif(6, broken=True)))
    assert opened(Artifacts(tmp_path / "artifacts"), root, image_size=8).x.shape == (11, 3, 8, 8)


@pytest.mark.parametrize("error", [KeyError("tag"), TypeError("abs"), OverflowError(), RecursionError("deep")])
def test_an_exception_of_any_decoder_names_the_file(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    data = saved("PNG")
    with monkeypatch.context() as patched:
        patched.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
        with pytest.raises(UserError, match=r"x\.png is damaged: ."):
            read_image(data, "x.png", 3, None)
    monkeypatch.setattr("PIL.Image.open", fail)
    with pytest.raises(UserError, match=r"x\.png cannot be read as an image: ."):
        read_header(data, "x.png")


@pytest.mark.parametrize("form", MADE)
def test_sound_files_of_every_format_are_read_or_refused_by_their_format(form: str) -> None:
    said = refusal_of(read_image, MADE[form](), "whole", 3, 8)
    if form in DRAWN:
        assert said.startswith(f"whole is {form}, which other programs draw")
    elif form in WIDE:
        assert said.startswith("whole: pixels of 32 bits")
    else:
        assert said == ""


def test_no_format_of_pillow_is_left_out() -> None:
    Image.init()
    assert set(Image.OPEN) <= {form.partition(" ")[0] for form in MADE}


@pytest.mark.parametrize("form", MADE)
def test_damaged_files_are_read_or_refused_by_name(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    read_damaged(form, 12, capfd)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", MADE)
def test_a_thousand_damaged_files_are_read_or_refused_by_name(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    read, refused, longest = read_damaged(form, 1000, capfd)
    with capfd.disabled():
        print(f"{form}: {read} read, {refused} refused, longest {longest:.2f} s")


def read_damaged(form: str, count: int, capfd: pytest.CaptureFixture[str]) -> tuple[int, int, float]:
    """Read damaged files; return how many were read and refused, and the seconds of the longest.

    Fails where one ends in anything but a refusal that names it, takes 20 seconds, or makes a library say something.
    """
    whole, others = MADE[form](), [make() for name, make in MADE.items() if name not in ("PCD", form)]
    generator, seconds, refused = np.random.default_rng(list(MADE).index(form)), 0.0, 0
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for number in range(count):
            data = damaged(whole, others, number, generator)
            start = time.perf_counter()
            said = [refusal_of(read_header, data, "bad"), refusal_of(read_image, data, "bad", 3, 8)]
            seconds = max(seconds, time.perf_counter() - start)
            assert all(each == "" or each.startswith(("bad ", "bad:")) for each in said)
            refused += bool(said[1])
    assert [str(each.message) for each in warned] == []
    assert capfd.readouterr() == ("", "")
    assert seconds < 20
    return count - refused, refused, seconds


def damaged(whole: bytes, others: list[bytes], number: int, generator: np.random.Generator) -> bytes:
    """Return a file with a few bytes changed, in the header or anywhere, cut off, or with the header of another."""
    data = bytearray(whole)
    if number % 4 == 3:
        other = others[generator.integers(len(others))]
        length = int(generator.integers(1, 65))
        data[:length] = other[:length]
    if number % 4 < 2 or number % 8 == 7:
        near = min(len(data), 200) if number % 2 else len(data)
        for place in generator.integers(0, near, generator.integers(1, 9)):
            data[place] = generator.integers(0, 256)
    if number % 4 == 2 or number % 12 == 0:
        del data[generator.integers(0, len(data)) :]
    return bytes(data)


def refusal_of(read: Callable[..., object], *given: object) -> str:
    """Return the message of a UserError, or nothing where the image is read; any other exception fails the test."""
    try:
        read(*given)
    except UserError as error:
        return str(error)
    return ""


def test_warnings_are_held_back_in_all_threads_and_heard_afterwards() -> None:
    broken = exif(6, broken=True)[:20]
    data = saved("JPEG", exif=broken)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: read_header(data, "x"), range(200)))
        assert warned == []
        warnings.warn("heard", stacklevel=1)
        assert len(warned) == 1
    assert logging.getLogger("PIL").level == logging.NOTSET


def test_pixels_of_another_size_than_the_header_says_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "set", ["a", "b"])
    monkeypatch.setattr("tlbench.data.sources.folder.read_header", lambda *_: ((6, 5), False))
    with pytest.raises(UserError, match=r"a/0\.png has another size than its header says: 6x5, not 5x6"):
        opened(Artifacts(tmp_path / "artifacts"), root)
