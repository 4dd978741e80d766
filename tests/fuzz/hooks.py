"""What schemathesis must know to get further than 401 and 404: who it is, and what there is."""

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
SOMEBODY = os.environ["CHORUS_FUZZ_WHO"] == "somebody"
PASSWORD = "correct horse battery"
# How many of the ids in well-formed paths are made to be of something that is there.
KNOWN_IDS = 0.7


def sign_up() -> dict:
    name = f"fuzz{random.SystemRandom().randrange(16**10):010x}"
    wish = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = requests.post(f"{URL}/v1/accounts", json=wish, timeout=30)
    answer.raise_for_status()
    return answer.json() | {"username": name}


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + b"\x28\x78\xc8" * 4 for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def world() -> dict[str, list[str]]:
    """A few people with posts and comments: what stands for each parameter of a path."""
    kinds = ["user", "username", "post", "comment", "picture", "story", "collection"]
    there: dict[str, list[str]] = {name: [] for name in kinds}
    there["file"] = ["feed.jpg"]
    there["role"] = ["artist", "moderator", "admin"]
    for _ in range(3):
        person = sign_up()
        headers = {"Authorization": f"Bearer {person['token']}"}
        there["user"].append(person["user"])
        there["username"].append(person["username"])
        told = requests.post(f"{URL}/v1/stories", headers=headers, files={"image": io.BytesIO(png())}, timeout=30)
        told.raise_for_status()
        there["story"].append(told.json()["id"])
        made = requests.post(f"{URL}/v1/me/collections", headers=headers, json={"name": "Lakes"}, timeout=30)
        made.raise_for_status()
        there["collection"].append(made.json()["id"])
        for caption in ["Dawn", ""]:
            sent = requests.post(f"{URL}/v1/posts", headers=headers, files={"image": io.BytesIO(png())},
                                 data={"caption": caption}, timeout=30)
            sent.raise_for_status()
            post = sent.json()["id"]
            there["post"].append(post)
            page = requests.get(f"{URL}/v1/posts/{post}", timeout=30).json()
            there["picture"].append(page["images"][0]["feed"].split("/")[-2])
            comments = f"{URL}/v1/posts/{post}/comments"
            said = requests.post(comments, headers=headers, json={"text": "Lovely!"}, timeout=30)
            said.raise_for_status()
            there["comment"].append(said.json()["id"])
    return there


WORLD = world()
# The same choices in every run, so that a seed repeats it.
CHOICE = random.Random(7)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Random ids name nothing: in a path that is good as it is, most of them are replaced with ones that do."""
    location = case.meta.components.get(ParameterLocation.PATH) if case.meta else None
    if location is not None and location.mode.is_positive and CHOICE.random() < KNOWN_IDS:
        for name in case.path_parameters or {}:
            if WORLD.get(name):
                case.path_parameters[name] = CHOICE.choice(WORLD[name])


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """What no description tells: a cursor that was not given out, and that an unknown header is passed over."""
    if isinstance(failure, RejectedPositiveData):
        problem = response.json() if response.status_code == 400 else {}
        return [error["field"] for error in problem.get("errors", [])] != ["cursor"]
    if isinstance(failure, AcceptedNegativeData):
        return "x-schemathesis-unknown-property" not in (case.headers or {})
    return True


if SOMEBODY:

    @schemathesis.auth(refresh_interval=None)
    class Somebody:
        """Whoever has been logged out or changed beyond recognition by a request is somebody else for the next."""

        token = None

        def get(self, case, context):
            if self.token is not None:
                me = requests.get(f"{URL}/v1/me", headers={"Authorization": f"Bearer {self.token}"}, timeout=30)
                if me.status_code == 200:
                    return self.token
            Somebody.token = sign_up()["token"]
            return self.token

        def set(self, case, data, context):
            case.headers["Authorization"] = f"Bearer {data}"
