"""Key pairs for client credentials, made anew in each run."""

import json
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm

CLIENT = "fhir-facade"
KEY_ID = "2026-01"


@dataclass(frozen=True)
class KeyPair:
    """Both keys as PEM, and of an elliptic curve the private one as JWK."""

    private: str
    public: str
    jwk: dict[str, str]


@cache
def key_pair(algorithm: str) -> KeyPair:
    """One for RS384 or ES384."""
    key = rsa.generate_private_key(65537, 2048) if algorithm == "RS384" else ec.generate_private_key(ec.SECP384R1())
    jwk = json.loads(ECAlgorithm.to_jwk(key)) if isinstance(key, ec.EllipticCurvePrivateKey) else {}
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(private.decode(), public.decode(), jwk)
