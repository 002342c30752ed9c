"""Whether a Ray cluster answers: a program of its own, `python probe.py ADDRESS`, of one JSON line.

It says which versions the cluster has, or why it does not answer. Ray's client waits for minutes,
writes to standard error and may end its process, so that nobody asks from a process that matters.
"""

import json
import sys


def ask(address: str) -> dict:
    """The versions of the cluster at HOST:PORT or `auto`, as its head node wrote them down."""
    from ray._private.authentication import authentication_token_setup as tokens
    from ray._private.services import canonicalize_bootstrap_address
    from ray._raylet import GcsClient

    found = canonicalize_bootstrap_address(address)
    if address == "auto":  # a token is taken unasked for a cluster of this machine only
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    tokens.ensure_token_if_auth_enabled(create_token_if_missing=False)
    versions = GcsClient(address=found).internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=5)
    return json.loads(versions or "{}")


if __name__ == "__main__":
    try:
        answer = ask(sys.argv[1])
    except Exception as error:  # Ray raises many kinds
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer))
