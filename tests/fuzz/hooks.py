"""Gives schemathesis a user and existing ids, without which most requests end with 401 or 404."""

import io
import os
import random
import struct
import zlib

import requests
import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

URL = os.environ["CHORUS_FUZZ_URL"]
LOGGED_IN = os.environ["CHORUS_FUZZ_WHO"] == "user"
PASSWORD = "correct horse battery"
# The share of ids in well-formed paths that are replaced with existing ones.
KNOWN_IDS = 0.7


def sign_up() -> dict:
    name = f"fuzz{random.SystemRandom().randrange(16**10):010x}"
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = requests.post(f"{URL}/v1/accounts", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json() | {"username": name}


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + b"\x28\x78\xc8" * 4 for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def world() -> dict[str, list[str]]:
    """Creates a few users with content; returns existing values for each path parameter."""
    kinds = ["user", "username", "post", "comment", "picture", "story", "collection"]
    known: dict[str, list[str]] = {name: [] for name in kinds}
    known["file"] = ["feed.jpg"]
    known["role"] = ["artist", "moderator", "admin"]
    for _ in range(3):
        person = sign_up()
        headers = {"Authorization": f"Bearer {person['token']}"}
        known["user"].append(person["user"])
        known["username"].append(person["username"])
        story = requests.post(f"{URL}/v1/stories", headers=headers, files={"image": io.BytesIO(png())}, timeout=30)
        story.raise_for_status()
        known["story"].append(story.json()["id"])
        made = requests.post(f"{URL}/v1/me/collections", headers=headers, json={"name": "Lakes"}, timeout=30)
        made.raise_for_status()
        known["collection"].append(made.json()["id"])
        for caption in ["Dawn", ""]:
            sent = requests.post(f"{URL}/v1/posts", headers=headers, files={"image": io.BytesIO(png())},
                                 data={"caption": caption}, timeout=30)
            sent.raise_for_status()
            post = sent.json()["id"]
            known["post"].append(post)
            page = requests.get(f"{URL}/v1/posts/{post}", timeout=30).json()
            known["picture"].append(page["images"][0]["feed"].split("/")[-2])
            comments = f"{URL}/v1/posts/{post}/comments"
            said = requests.post(comments, headers=headers, json={"text": "Lovely!"}, timeout=30)
            said.raise_for_status()
            known["comment"].append(said.json()["id"])
    return known


WORLD = world()
# A fixed seed, so that a seed of schemathesis repeats the run.
CHOICE = random.Random(7)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Replaces most random ids in valid paths with existing ones."""
    location = case.meta.components.get(ParameterLocation.PATH) if case.meta else None
    if location is not None and location.mode.is_positive and CHOICE.random() < KNOWN_IDS:
        for name in case.path_parameters or {}:
            if WORLD.get(name):
                case.path_parameters[name] = CHOICE.choice(WORLD[name])


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Ignores what the description cannot say: forged cursors are refused, and unknown headers are ignored."""
    if isinstance(failure, RejectedPositiveData):
        problem = response.json() if response.status_code == 400 else {}
        return [error["field"] for error in problem.get("errors", [])] != ["cursor"]
    if isinstance(failure, AcceptedNegativeData):
        return "x-schemathesis-unknown-property" not in (case.headers or {})
    return True


if LOGGED_IN:

    @schemathesis.auth(refresh_interval=None)
    class FuzzUser:
        """Signs up a new user whenever a request has ended the session of the last one."""

        token = None

        def get(self, case, context):
            if self.token is not None:
                me = requests.get(f"{URL}/v1/me", headers={"Authorization": f"Bearer {self.token}"}, timeout=30)
                if me.status_code == 200:
                    return self.token
            FuzzUser.token = sign_up()["token"]
            return self.token

        def set(self, case, data, context):
            case.headers["Authorization"] = f"Bearer {data}"
