"""Images of the other languages: each is the Python image's base and one family's tools on it, by `Dockerfile.FAMILY`.

Debian's packages come from the network inside of the build; what is on npm (TypeScript, Node's types, Kotlin's
compiler) is fetched out here, held to its pinned sha512, and handed in with the build context.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import urllib.error
import urllib.request
from importlib.resources import files

from sandboxes.errors import SandboxError, SandboxUnavailable
from sandboxes.languages import Family

REGISTRY = "https://registry.npmjs.org"
MIRROR_VARIABLE = "NPM_CONFIG_REGISTRY"


class Package:
    """A tarball on npm and which of its files are wanted, under which names in the build context."""

    def __init__(self, path: str, sha512: str, into: str, wanted: tuple[str, ...]) -> None:
        self.path = path
        self.sha512 = sha512
        self.into = into
        self.wanted = wanted


_KOTLIN_JARS = (
    "kotlin-compiler",
    "kotlin-stdlib",
    "kotlin-script-runtime",
    "kotlinx-coroutines-core-jvm",
    "annotations-13.0",
)

PACKAGES: dict[Family, tuple[Package, ...]] = {
    "node": (
        Package(
            "typescript/-/typescript-5.9.3.tgz",
            "jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
            "typescript/",
            ("package/lib/typescript.js", "package/lib/lib."),
        ),
        Package(
            "@types/node/-/node-18.19.130.tgz",
            "GRaXQx6jGfL8sKfaIDD6OupbIHBr9jv7Jnaml9tB7l4v068PAOXqfcujMMo5PhbIs6ggR1XODELqahT2R8v0fg==",
            "types/node/",
            ("node v18.19/",),
        ),
        Package(
            "undici-types/-/undici-types-5.26.5.tgz",
            "JlCMO+ehdEIKqlFxk6IfVoAUVmgz7cU7zD/h9XZ0qzeosSHmUJVOzSQvvYSYWXkFXC+IfLKSIffhv0sVZup6pA==",
            "node_modules/undici-types/",
            ("package/",),
        ),
    ),
    "jvm": (
        Package(
            "kotlin-compiler/-/kotlin-compiler-2.4.20.tgz",
            "IF5IVM7LpPhA/ntHQQpaVt1yxpaaQovtEVYLyqWMuaLr0XelLPPm7/sM6HLhtcRjjjoSsK7I7lP2kzYJkMy73w==",
            "kotlin/",
            tuple(f"package/lib/{jar}.jar" for jar in _KOTLIN_JARS),
        ),
    ),
}


def context(family: Family) -> list[tuple[str, bytes]]:
    """Name and content of everything in a family's build context, its Dockerfile as `Dockerfile`.

    Raises:
        SandboxUnavailable: A package cannot be fetched.
        SandboxError: A package is not the one that was pinned.
    """
    here = files("sandboxes.images")
    entries = [("Dockerfile", here.joinpath(f"Dockerfile.{family}").read_bytes())]
    entries += [("install", here.joinpath("install").read_bytes())]
    beside = here.joinpath(family)
    if beside.is_dir():
        entries += [(f"{family}/{file.name}", file.read_bytes()) for file in beside.iterdir() if file.is_file()]
    for package in PACKAGES.get(family, ()):
        entries += _unpacked(package)
    return sorted(entries)


def _unpacked(package: Package) -> list[tuple[str, bytes]]:
    found = []
    with tarfile.open(fileobj=io.BytesIO(_fetched(package)), mode="r:gz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None and member.name.startswith(package.wanted) and "/locale" not in member.name:
                short = member.name.removeprefix("package/lib/").removeprefix("package/").removeprefix("node v18.19/")
                found.append((package.into + short, file.read()))
    return found


def _fetched(package: Package) -> bytes:
    address = f"{os.environ.get(MIRROR_VARIABLE, REGISTRY).rstrip('/')}/{package.path}"
    try:
        with urllib.request.urlopen(address, timeout=120) as reply:
            data = bytes(reply.read())
    except (urllib.error.URLError, OSError) as error:
        raise SandboxUnavailable(
            f"{address} cannot be fetched ({error})", f"set {MIRROR_VARIABLE} to a registry that can be reached"
        ) from error
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != package.sha512:
        raise SandboxError(f"{address} is not the package that was pinned: its sha512 differs")
    return data
