"""One small sound file of every format that Pillow opens: saved by it, or made by hand where it only reads."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 24, 16
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
GREY = PIXELS[..., 0].tobytes()
DRAWN = ("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG")
"""Formats of which Pillow reads the head only, or has another program draw them."""
WIDE = ("SPIDER",)
"""Formats whose pixels have 32 bits."""


def saved(form: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(PIXELS).convert(mode)
    (image.resize((32, 32)) if form == "ICO" else image).save(stream, form, **options)
    return stream.getvalue()


def icns() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).resize((32, 32)).save(stream, "PNG")
    icon = b"ic11" + struct.pack(">I", 8 + len(stream.getvalue())) + stream.getvalue()
    return b"icns" + struct.pack(">I", 8 + len(icon)) + icon


def iptc() -> bytes:
    numbers = {(3, 60): b"\1\0", (3, 20): struct.pack(">H", WIDTH), (3, 30): struct.pack(">H", HEIGHT), (3, 120): b"\1"}
    fields = [*numbers.items(), ((8, 10), GREY)]
    return b"".join(struct.pack(">BBBH", 0x1C, *tag, len(value)) + value for tag, value in fields)


def cur() -> bytes:
    icon = bytearray(saved("ICO", bitmap_format="bmp", sizes=[(32, 32)]))
    icon[2] = 2
    return bytes(icon)


def fli() -> bytes:
    pixels = struct.pack("<IH", 6 + len(GREY), 16) + GREY
    frame = struct.pack("<IHH8x", 16 + len(pixels), 0xF1FA, 1) + pixels
    head = struct.pack("<IHHHHHHI", 128 + len(frame), 0xAF12, 1, WIDTH, HEIGHT, 8, 3, 50)
    return head.ljust(128, b"\0") + frame


def ftex() -> bytes:
    pixels = PIXELS.tobytes()
    return struct.pack("<4sI4iiiI", b"FTEX", 1, WIDTH, HEIGHT, 1, 1, 1, 32, len(pixels)) + pixels


def gbr() -> bytes:
    return struct.pack(">5I4sI", 28 + 6, 2, WIDTH, HEIGHT, 1, b"GIMP", 10) + b"brush\0" + GREY


def mcidas() -> bytes:
    words = [0] * 64
    words[1], words[8], words[9], words[10], words[13], words[33] = 4, HEIGHT, WIDTH, 1, 1, 256
    return struct.pack("!64i", *words) + GREY


def pcd() -> bytes:
    head = bytearray(96 * 2048)
    head[2048:2052] = b"PCD_"
    return bytes(head) + bytes(768 * 512 * 3 // 2)


def pixar() -> bytes:
    head = bytearray(1024)
    head[:4] = b"\x80\xe8\0\0"
    head[416:420] = struct.pack("<HH", HEIGHT, WIDTH)
    head[424:428] = struct.pack("<HH", 14, 2)
    return bytes(head) + PIXELS.tobytes()


def psd() -> bytes:
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, HEIGHT, WIDTH, 8, 3)
    return head + bytes(12) + bytes(2) + PIXELS.transpose(2, 0, 1).tobytes()


def sun() -> bytes:
    return struct.pack(">8I", 0x59A66A95, WIDTH, HEIGHT, 24, WIDTH * HEIGHT * 3, 1, 0, 0) + PIXELS.tobytes()


def xpm() -> bytes:
    rows = "".join(f'"{"".join("ab"[int(value > 127)] for value in row)}",\n' for row in PIXELS[..., 0])
    colours = '"a c #102030",\n"b c #f0e0d0",\n'
    return f'/* XPM */\nstatic char *x[] = {{\n"{WIDTH} {HEIGHT} 2 1",\n{colours}{rows}}};\n'.encode()


def fits() -> bytes:
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2"]
    cards += [f"NAXIS1  = {WIDTH:20}", f"NAXIS2  = {HEIGHT:20}", "END"]
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode() + GREY.ljust(2880, b"\0")


def eps() -> bytes:
    return f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 {WIDTH} {HEIGHT}\n%%EndComments\nshowpage\n%%EOF\n".encode()


def wmf() -> bytes:
    placed = struct.pack("<IHhhhhHIH", 0x9AC6CDD7, 0, 0, 0, WIDTH, HEIGHT, 72, 0, 0)
    return placed + struct.pack("<HHHIHIH", 1, 9, 0x300, 12, 0, 3, 0) + struct.pack("<IH", 3, 0)


MADE: dict[str, Callable[[], bytes]] = {
    "AVIF": lambda: saved("AVIF"),
    "BLP": lambda: saved("BLP", "P"),
    "BMP": lambda: saved("BMP"),
    "BUFR": lambda: b"BUFR" + bytes(60),
    "CUR": cur,
    "DCX": lambda: struct.pack("<III", 0x3ADE68B1, 12, 0) + saved("PCX"),
    "DDS": lambda: saved("DDS"),
    "DIB": lambda: saved("DIB"),
    "EPS": eps,
    "FITS": fits,
    "FLI": fli,
    "FTEX": ftex,
    "GBR": gbr,
    "GIF": lambda: saved("GIF"),
    "GRIB": lambda: b"GRIB" + bytes(3) + b"\1" + bytes(60),
    "HDF5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(60),
    "ICNS": icns,
    "ICO": lambda: saved("ICO"),
    "IM": lambda: saved("IM"),
    "IMT": lambda: f"* made by hand\nwidth {WIDTH}\nheight {HEIGHT}\npixel n8\n\f".encode() + GREY,
    "IPTC": iptc,
    "JPEG": lambda: saved("JPEG"),
    "JPEG2000": lambda: saved("JPEG2000"),
    "MCIDAS": mcidas,
    "MPEG": lambda: b"\0\0\1\xb3" + bytes([1, 0x80, 0x10]) + bytes(60),
    "MPO": lambda: saved("MPO", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]),
    "MSP": lambda: saved("MSP", "1"),
    "PCD": pcd,
    "PCX": lambda: saved("PCX"),
    "PIXAR": pixar,
    "PNG": lambda: saved("PNG"),
    "PPM": lambda: saved("PPM"),
    "PSD": psd,
    "QOI": lambda: saved("QOI"),
    "SGI": lambda: saved("SGI"),
    "SPIDER": lambda: saved("SPIDER", "F"),
    "SUN": sun,
    "TGA": lambda: saved("TGA"),
    "TIFF": lambda: saved("TIFF"),
    "TIFF (LZW)": lambda: saved("TIFF", compression="tiff_lzw"),
    "TIFF (JPEG)": lambda: saved("TIFF", compression="jpeg"),
    "WEBP": lambda: saved("WEBP"),
    "WMF": wmf,
    "XBM": lambda: saved("XBM", "1"),
    "XPM": xpm,
    "XVTHUMB": lambda: f"P7 332\n#END_OF_COMMENTS\n{WIDTH} {HEIGHT} 255\n".encode() + GREY,
}
