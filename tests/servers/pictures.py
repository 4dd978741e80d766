"""Renders each image of a folder with Pillow, upright and in sRGB, as a reference for our own decoders.

    pictures.py <folder of images> <folder for the references>

Writes `<number>.png` for each image that Pillow reads, and `list.tsv`: path, format by its first bytes, and the number,
or `refused` if Pillow cannot read it.
"""

import io
import sys
import warnings
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

warnings.simplefilter("ignore")
Image.MAX_IMAGE_PIXELS = 50_000_000
FORMATS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"RIFF": "webp"}


def format_of(head):
    if head[:4] == b"RIFF" and head[8:12] != b"WEBP":
        return "other"
    return next((name for magic, name in FORMATS.items() if head.startswith(magic)), "other")


def in_srgb(picture, profile):
    try:
        return ImageCms.profileToProfile(
            picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        # Profiles that cannot be read, or do not match the image's colours, are ignored.
        return picture


def shown(path):
    with Image.open(path) as opened:
        profile = opened.info.get("icc_profile")
        opened.load()
        picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I;16") or picture.mode == "I":
        picture = picture.point(lambda value: value / 256).convert("L")
    if picture.mode in ("LA", "PA", "La", "RGBa", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    elif picture.mode not in ("L", "RGB", "CMYK"):
        picture = picture.convert("RGB")
    if profile:
        picture = in_srgb(picture, profile)
    return picture.convert("RGB")


def main(source, target):
    lines = []
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        with open(path, "rb") as file:
            kind = format_of(file.read(12))
        if kind == "other":
            lines.append(f"{path}\tother\t-")
            continue
        try:
            shown(path).save(target / f"{number}.png", compress_level=1)
            lines.append(f"{path}\t{kind}\t{number}")
        except Exception:  # Pillow raises many kinds for broken files.
            lines.append(f"{path}\t{kind}\trefused")
    (target / "list.tsv").write_text("\n".join(lines) + "\n")


main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
