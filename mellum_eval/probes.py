"""Quick looks at what is in reach, for messages that come at once instead of after a client's retries."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

HUB = "https://huggingface.co"


def hub_endpoint() -> str:
    """The model hub's address, or the mirror that HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT") or HUB


def hub_is_reachable(timeout_s: float = 3.0) -> bool:
    """Whether the hub takes connections (through a proxy, whether the proxy does) and is not switched off."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    proxy = next((os.environ[name] for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY") if os.environ.get(name)), "")
    target = urlsplit(proxy or hub_endpoint())
    port = target.port or (80 if target.scheme == "http" else 443)
    try:
        with socket.create_connection((target.hostname or "", port), timeout_s):
            return True
    except OSError:
        return False
