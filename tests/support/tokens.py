"""JSON Web Tokens, good and forged, and an https server for the issuer's keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "sentiment"
KID = "k-1"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """An issuer with one RSA key, and more where a test asks; serves what is `published` at `url` over https on loopback."""

    def __init__(self, folder: Path) -> None:
        self.key = _new_key()
        self.stranger = _new_key()
        self.keys = {KID: self.key}
        """Of which it signs, by kid."""
        self.published: tuple[str, ...] = (KID,)
        self.served: list[tuple[str, ...]] = []
        """What it answered, the last one last."""
        ca = trustme.CA()
        self.ca_file = folder / "issuer-ca.pem"
        ca.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                published = issuer.published
                document = json.dumps(issuer.jwks(published)).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)
                issuer.served.append(published)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.address = f"localhost:{self._server.server_address[1]}"
        self.url = f"https://{self.address}"

    def jwks(self, kids: Iterable[str]) -> dict[str, Any]:
        """These keys' public halves."""
        numbers = {kid: self.keys[kid].public_key().public_numbers() for kid in kids}
        return {
            "keys": [
                {"kty": "RSA", "kid": kid, "use": "sig", "n": _number(key.n), "e": _number(key.e)}
                for kid, key in numbers.items()
            ]
        }

    def new_key(self, kid: str) -> None:
        """Tokens may be signed with it; nobody is told before it is published."""
        self.keys[kid] = _new_key()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def token(self, kind: str, subject: str = "jane") -> str:
        """A token by the name of what is wrong with it; "good" and "other_tenant" have nothing wrong."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "exp": now + 600,
            "org": "acme",
        }
        header: dict[str, Any] = {"alg": "RS256", "kid": KID, "typ": "JWT"}
        match kind:
            case "expired":
                claims["exp"] = now - 600
            case "not_yet_valid":
                claims["nbf"] = now + 600
            case "no_expiry":
                del claims["exp"]
            case "wrong_audience":
                claims["aud"] = "elsewhere"
            case "wrong_issuer":
                claims["iss"] = "https://evil.example"
            case "unknown_kid":
                header["kid"] = "k-2"
            case "no_kid":
                del header["kid"]
            case "foreign_tenant":
                claims["org"] = "evil"
            case "other_tenant":
                claims["org"] = "globex"
            case "own_key_in_header":
                numbers = self.stranger.public_key().public_numbers()
                header["jwk"] = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
            case "none" | "None":
                header["alg"] = kind
            case "hs_confusion":
                header["alg"] = "HS256"
            case "critical":
                header["crit"] = ["exp"]
        signed = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
        return f"{signed}.{_b64(self._signature(kind, signed))}"

    def signed(
        self,
        *,
        header: dict[str, Any] | None = None,
        claims: dict[str, Any] | None = None,
        digest: hashes.HashAlgorithm | None = None,
    ) -> str:
        """A token with a good signature whatever it says, by the key that its kid names; None takes a header or claim away."""
        head = {"alg": "RS256", "kid": KID, "typ": "JWT"} | (header or {})
        said: dict[str, Any] = {"iss": self.url, "aud": AUDIENCE, "sub": "jane", "org": "acme"}
        said |= {"exp": int(time.time()) + 600} | (claims or {})
        parts = ({name: value for name, value in part.items() if value is not None} for part in (head, said))
        text = ".".join(_b64(json.dumps(part).encode()) for part in parts)
        key = self.keys.get(head["kid"], self.key)
        signature = key.sign(text.encode(), padding.PKCS1v15(), digest or hashes.SHA256())
        return f"{text}.{_b64(signature)}"

    def _signature(self, kind: str, signed: str) -> bytes:
        if kind in {"none", "None"}:
            return b""
        if kind == "hs_confusion":
            public = self.key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            return hmac.new(public, signed.encode(), hashlib.sha256).digest()
        key = self.stranger if kind in {"foreign_key", "own_key_in_header"} else self.key
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        if kind == "tampered":
            return bytes([signature[0] ^ 1]) + signature[1:]
        return signature
