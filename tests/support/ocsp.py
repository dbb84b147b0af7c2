"""A responder of OCSP (RFC 6960) over HTTP on loopback: what it is asked about is good."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import ocsp


class Responder:
    """Signs in the name of `issuer`. `asked` holds the serial number of each question."""

    def __init__(self) -> None:
        self.issuer: tuple[bytes, bytes] = (b"", b"")
        self.asked: list[int] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
        answer = self._answer(await reader.readexactly(int(length.partition(":")[2])))
        told = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {len(answer)}\r\n"
        )
        writer.write(told.encode() + b"Connection: close\r\n\r\n" + answer)
        await writer.drain()
        writer.close()

    def _answer(self, body: bytes) -> bytes:
        question = ocsp.load_der_ocsp_request(body)
        self.asked.append(question.serial_number)
        certificate, pem = self.issuer
        key = load_pem_private_key(pem, None)
        assert isinstance(key, RSAPrivateKey)
        now = datetime.now(UTC)
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=question.issuer_name_hash,
            issuer_key_hash=question.issuer_key_hash,
            serial_number=question.serial_number,
            algorithm=question.hash_algorithm,
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now - timedelta(minutes=1),
            next_update=now + timedelta(days=4),
            revocation_time=None,
            revocation_reason=None,
        )
        signer = x509.load_pem_x509_certificate(certificate)
        response = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, signer).sign(key, SHA256())
        return response.public_bytes(Encoding.DER)


@asynccontextmanager
async def responder() -> AsyncGenerator[Responder]:
    """Answers while the block runs."""
    running = Responder()
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.port = int(server.sockets[0].getsockname()[1])
    async with server:
        yield running
