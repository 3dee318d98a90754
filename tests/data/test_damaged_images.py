"""Images that are damaged, or whose EXIF is: turned as they are to be shown, or refused by name, never a traceback."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from test_folder import fill, opened

from tlbench.core.errors import UserError
from tlbench.data.image_decoding import read_header, read_image
from tlbench.store.artifacts import Artifacts

FORMATS = [
    "PNG",
    "JPEG",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "TGA",
    "PCX",
    "SGI",
    "ICO",
    "WEBP",
    "DDS",
    "IM",
    "MSP",
    "XBM",
    "ICNS",
]
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)


def encoded(form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(PIXELS)
    if form in ("MSP", "XBM"):
        image = image.convert("1")
    if form == "ICNS":
        image = image.resize((32, 32))
    image.save(stream, form, **options)
    return stream.getvalue()


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
    data = encoded("JPEG", exif=exif(orientation, broken=False))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))).transpose(2, 0, 1)
    assert np.array_equal(read_image(data, "x", 3, None), expected)
    assert read_header(data, "x") == (expected.shape[1:], False)
    broken = encoded("JPEG", exif=exif(orientation, broken=True))
    assert np.array_equal(read_image(broken, "x", 3, None), expected)
    assert read_header(broken, "x") == (expected.shape[1:], False)


def test_the_made_exif_is_one_that_pillow_cannot_write_again() -> None:
    image = Image.open(io.BytesIO(encoded("JPEG", exif=exif(6, broken=True))))
    with pytest.raises(Exception, match="abs"):
        ImageOps.exif_transpose(image)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_there_are_not_mean_upright(value: int) -> None:
    data = encoded("JPEG", exif=exif(value, broken=False))
    assert np.array_equal(read_image(data, "x", 3, None), read_image(encoded("JPEG"), "x", 3, None))


def test_a_folder_with_such_a_photo_is_read(tmp_path: Path) -> None:
    root = fill(tmp_path / "set", ["a", "b"])
    (root / "a" / "phone.jpg").write_bytes(encoded("JPEG", exif=exif(6, broken=True)))
    assert opened(Artifacts(tmp_path / "artifacts"), root, image_size=8).x.shape == (11, 3, 8, 8)


@pytest.mark.parametrize("error", [KeyError("tag"), TypeError("abs"), OverflowError(), RecursionError("deep")])
def test_an_exception_of_any_decoder_names_the_file(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    data = encoded("PNG")
    with monkeypatch.context() as patched:
        patched.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
        with pytest.raises(UserError, match=r"x\.png is damaged: ."):
            read_image(data, "x.png", 3, None)
    monkeypatch.setattr("PIL.Image.open", fail)
    with pytest.raises(UserError, match=r"x\.png cannot be read as an image: ."):
        read_header(data, "x.png")


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_files_of_every_format_are_read_or_refused_by_name(form: str) -> None:
    """60 files a format, each cut or with up to 8 bytes changed."""
    whole = encoded(form)
    assert read_image(whole, "whole", 3, 8).shape == (3, 8, 8)
    generator = np.random.default_rng(FORMATS.index(form))
    for number in range(60):
        data = bytearray(whole)
        near = min(len(data), 200) if number % 2 else len(data)  # half of them in the header
        for place in generator.integers(0, near, generator.integers(1, 9)):
            data[place] = generator.integers(0, 256)
        if number % 3 == 0:
            del data[generator.integers(0, len(data)) :]
        for said in (refusal_of(read_header, bytes(data), "bad"), refusal_of(read_image, bytes(data), "bad", 3, 8)):
            assert said == "" or said.startswith(("bad ", "bad:"))


def refusal_of(read: Callable[..., object], *given: object) -> str:
    """Return the message of a UserError, or nothing where the image is read; any other exception fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(*given)
        except UserError as error:
            return str(error)
    return ""


def test_pixels_of_another_size_than_the_header_says_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "set", ["a", "b"])
    monkeypatch.setattr("tlbench.data.sources.folder.read_header", lambda *_: ((6, 5), False))
    with pytest.raises(UserError, match=r"a/0\.png has another size than its header says: 6x5, not 5x6"):
        opened(Artifacts(tmp_path / "artifacts"), root)
