"""Both ends prove that they know the job's secret without saying it: each answers the other's random nonce.

Numbers of versions are compared first: a coordinator and instances of different versions of the runner do not work together.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

INSTANCE, COORDINATOR = b"instance", b"coordinator"


def nonce() -> str:
    return secrets.token_hex(16)


def proof(secret: str, who: bytes, nonce: str) -> str:
    return hmac.new(secret.encode(), who + b" " + nonce.encode(), hashlib.sha256).hexdigest()


def is_proof(given: object, secret: str, who: bytes, nonce: str) -> bool:
    return hmac.compare_digest(str(given).encode(), proof(secret, who, nonce).encode())


def new_secret() -> str:
    """Of a job."""
    return secrets.token_hex(32)
