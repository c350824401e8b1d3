"""Who gives out tokens in the tests: a stand-in, on loopback, for Entra ID and for a machine's own endpoint (the fixture `token_azurite`).

The SDK sends tokens over https only, and asks for them so: there is a certificate for both, which `environment` makes clients trust.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.azurite import Azurite, running_azurite

if TYPE_CHECKING:
    from runner.model.datastore import BlobStore, Credential

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "client~secret/+canary="  # with what has another form in URLs
HEADER = "identity-header-canary"  # the secret of a machine's own endpoint


@dataclass
class TokenAzurite:
    """Azurite that takes tokens, and who gives them."""

    azurite: Azurite
    authority: str  # URL
    certificate: Path
    lifetime: int = 3600  # seconds of the next tokens
    refuse: tuple[int, dict[str, str]] | None = None  # status and answer instead of a token
    asked: list[dict[str, str]] = field(default_factory=list)  # fields of the requests for tokens
    tokens: list[str] = field(default_factory=list)  # all that were given out
    delay: float = 0.0  # seconds before each answer

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process trust the certificate."""
        return {"REQUESTS_CA_BUNDLE": str(self.certificate)}

    @property
    def machine(self) -> dict[str, str]:
        """What makes a process find the endpoint of the managed identity."""
        return {"IDENTITY_ENDPOINT": f"{self.authority}/msi/token", "IDENTITY_HEADER": HEADER}

    def service_principal(self, secret: str = SECRET) -> Credential:
        from runner.model.datastore import Credential

        return Credential(kind="service_principal", tenant_id=TENANT, client_id=CLIENT, secret=secret, authority=self.authority)

    def store(self, container: str, credential: Credential, name: str = "az") -> BlobStore:
        return replace(self.azurite.store(container, name), credential=credential)

    def reset(self) -> None:
        self.lifetime, self.refuse, self.delay = 3600, None, 0.0
        self.asked.clear()
        self.tokens.clear()

    def answer(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append(asked)
        time.sleep(self.delay)
        if self.refuse:
            return self.refuse
        if asked.get("client_secret", SECRET) != SECRET:
            # Worse than the real one, which does not repeat it.
            said = f"AADSTS7000215: Invalid client secret provided: {asked['client_secret']}"
            return 401, {"error": "invalid_client", "error_description": said}
        self.tokens.append(token := self.token())
        until = int(time.time()) + self.lifetime
        given = {"access_token": token, "token_type": "Bearer", "resource": asked.get("resource", "")}
        return 200, {**given, "expires_in": self.lifetime, "expires_on": str(until)}

    def token(self) -> str:
        now = int(time.time())
        claims = {"aud": "https://storage.azure.com", "iss": f"https://sts.windows.net/{TENANT}/", "iat": now, "nbf": now - 60}
        claims |= {"exp": now + max(self.lifetime, 60), "oid": CLIENT, "tid": TENANT, "n": len(self.asked)}
        parts = ({"alg": "HS256", "typ": "JWT"}, claims)
        return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "c2lnbmVk"])


@contextmanager
def running_token_azurite(program: str, folder: Path) -> Iterator[TokenAzurite]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    make_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        options = ("--oauth", "basic", "--cert", str(certificate), "--key", str(key))
        with running_azurite(program, *options, scheme="https") as azurite:
            both = TokenAzurite(azurite, f"https://127.0.0.1:{server.server_address[1]}", certificate)
            server.both = both  # type: ignore[attr-defined]
            yield both
    finally:
        server.shutdown()
        server.server_close()


def make_certificate(certificate: Path, key: Path) -> None:
    """For 127.0.0.1, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key.write_bytes(secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        """Entra ID: a token for a client with its secret."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.give(*self.server.both.answer(fields(text)))  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        both: TokenAzurite = self.server.both  # type: ignore[attr-defined]
        if path == "/msi/token":  # a machine's own
            told = self.headers.get("X-IDENTITY-HEADER")
            self.give(*both.answer(fields(query)) if told == HEADER else (401, {"error": "no header"}))
        elif path.endswith("/.well-known/openid-configuration"):
            base = f"{both.authority}/{TENANT}"
            places = {"authorization_endpoint": f"{base}/oauth2/v2.0/authorize", "token_endpoint": f"{base}/oauth2/v2.0/token"}
            self.give(200, {**places, "issuer": f"{base}/v2.0"})
        else:
            self.give(404, {})

    def give(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def fields(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}
