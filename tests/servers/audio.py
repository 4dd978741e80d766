"""Reads the tags of each audio file of a folder with mutagen, as a reference for our own reading.

    audio.py <folder of files>

Prints a JSON object by path: `{"refused": reason}`, or duration in seconds and tags. White space of a text counts as one
blank, as it is shown.
"""

import json
import re
import sys
from pathlib import Path

import mutagen
from mutagen.id3 import ID3
from mutagen.mp4 import MP4Tags

AUDIO = {"aac", "flac", "m4a", "m4b", "mp3", "mp4", "ogg", "oga", "oggflac", "opus", "wav"}
# Further formats, which are refused.
OTHER = {"ac3", "aif", "aiff", "ape", "dff", "dsf", "eac3", "mid", "mpc", "ofr", "oggtheora", "spx", "tak", "tta", "wma", "wv"}


def of_id3(tags):
    def texts(frame):
        return [str(text) for found in tags.getall(frame) for text in found.text]

    genres = [genre for found in tags.getall("TCON") for genre in found.genres]
    return {
        "title": texts("TIT2"),
        "artist": texts("TPE1"),
        "album": texts("TALB"),
        "track": texts("TRCK"),
        "date": texts("TDOR") or texts("TDRC"),
        "genre": genres,
    }


def of_mp4(tags):
    return {
        "title": tags.get("\xa9nam", []),
        "artist": tags.get("\xa9ART", []),
        "album": tags.get("\xa9alb", []),
        "track": [str(track) for track, _ in tags.get("trkn", []) if track],
        "date": tags.get("\xa9day", []),
        "genre": tags.get("\xa9gen", []),
    }


def of_comments(tags):
    def get(*names):
        return next((tags[name] for name in names if name in tags), [])

    return {
        "title": get("title"),
        "artist": get("artist"),
        "album": get("album"),
        "track": get("tracknumber"),
        "date": get("originaldate", "date", "year"),
        "genre": get("genre"),
    }


def of_tags(tags):
    if tags is None:
        return of_comments({})
    if isinstance(tags, ID3):
        return of_id3(tags)
    return of_mp4(tags) if isinstance(tags, MP4Tags) else of_comments(tags)


def tidy(texts):
    lines = (" ".join(text.replace("\0", " ").split()) for text in texts)
    return list(dict.fromkeys(line for line in lines if line))


def number(texts, pattern):
    found = next((re.search(pattern, text) for text in texts), None)
    return int(found.group(1)) or None if found else None


def read(path):
    try:
        file = mutagen.File(path)
    except Exception as error:  # It raises many kinds for broken files.
        return {"refused": f"{type(error).__name__}: {error}"}
    if file is None or not hasattr(file.info, "length"):
        return {"refused": "unknown format"}
    tags = {name: tidy(texts) for name, texts in of_tags(file.tags).items()}
    return {
        "duration": file.info.length,
        "title": next(iter(tags["title"]), None),
        "artists": tags["artist"],
        "album": next(iter(tags["album"]), None),
        "track": number(tags["track"], r"^(\d+)"),
        "year": number(tags["date"], r"(?<!\d)(\d{4})(?!\d)"),
        "genres": tags["genre"],
    }


def main(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = path.suffix[1:].lower()
        if path.is_file() and kind in AUDIO | OTHER:
            found[str(path)] = read(path) if kind in AUDIO else {"refused": "a format that is not accepted"}
    json.dump(found, sys.stdout, indent=1)


main(Path(sys.argv[1]).resolve())
