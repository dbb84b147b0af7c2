"""A bystander that also serves a word, answers datagrams, and reads what others say."""

import hashlib
import json
import os
import socket
import sys
import threading
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import dns.rrset

from support.bystander import SECONDS, Bystander, serve

WORD_BYTES = 100
WIRE_BYTES = 4096


class Party(Bystander):
    """What stands at either end, or far away."""

    def say(self, *ports: int, word: str, address: str = "127.0.0.1") -> None:
        """Whoever connects is told a word."""
        for port in ports:
            say(socket.create_server((address, port)), word)

    def name(self, port: int, name: str, address: str) -> None:
        """A name server that knows one name."""
        bound = socket.socket(type=socket.SOCK_DGRAM)
        bound.bind(("0.0.0.0", port))  # noqa: S104

        def work() -> None:
            while True:
                wire, sender = bound.recvfrom(WIRE_BYTES)
                question = dns.message.from_wire(wire)
                answer = dns.message.make_response(question)
                asked = question.question[0]
                if asked.name.to_text(omit_final_dot=True) == name and asked.rdtype == dns.rdatatype.A:
                    answer.answer.append(dns.rrset.from_text(asked.name, 300, "IN", "A", address))
                bound.sendto(answer.to_wire(), sender)

        threading.Thread(target=work, daemon=True).start()

    def look_up(self, server: str, port: int, name: str) -> list[str]:
        """The addresses of a name."""
        answer = dns.query.udp(dns.message.make_query(name, "A"), server, timeout=SECONDS, port=port)
        return answer.answer[0].to_text().split()[4::5] if answer.answer else []

    def digest(self, port: int) -> None:
        """Whoever connects is told the digest of what they sent, once they have sent it all."""
        listener = socket.create_server(("0.0.0.0", port))  # noqa: S104

        def work() -> None:
            while True:
                accepted, _ = listener.accept()
                with accepted:
                    seen = hashlib.sha256()
                    while piece := accepted.recv(2**16):
                        seen.update(piece)
                    accepted.sendall(seen.hexdigest().encode())

        threading.Thread(target=work, daemon=True).start()

    def pour(self, address: str, port: int, size: int) -> bool:
        """Send so many bytes, then say that this was all; whether the digest that comes back is theirs."""
        sent = os.urandom(size)
        with socket.create_connection((address, port), timeout=30) as reached:
            reached.sendall(sent)
            reached.shutdown(socket.SHUT_WR)
            return reached.makefile().read() == hashlib.sha256(sent).hexdigest()

    def echo(self, port: int) -> None:
        """Datagrams come back, with the sender's address before them."""
        bound = socket.socket(type=socket.SOCK_DGRAM)
        bound.bind(("0.0.0.0", port))  # noqa: S104

        def work() -> None:
            while True:
                told, sender = bound.recvfrom(WORD_BYTES)
                bound.sendto(sender[0].encode() + b" " + told, sender)

        threading.Thread(target=work, daemon=True).start()

    def hear(self, address: str, port: int) -> str:
        """The word that is told there."""
        with socket.create_connection((address, port), timeout=SECONDS) as reached:
            return reached.makefile().read()

    def ask(self, address: str, port: int, word: str) -> str:
        """What comes back for a datagram."""
        with socket.socket(type=socket.SOCK_DGRAM) as asked:
            asked.settimeout(SECONDS)
            asked.connect((address, port))
            asked.send(word.encode())
            return asked.recv(WORD_BYTES).decode()

    def interfaces(self) -> list[str]:
        """Of the network that it is in."""
        return sorted(name for _, name in socket.if_nameindex())


def say(listener: socket.socket, word: str) -> None:
    """Tell each who connects to a listener."""

    def work() -> None:
        while True:
            accepted, sender = listener.accept()
            with accepted:
                accepted.sendall(f"{word} {sender[0].removeprefix('::ffff:')}".encode())

    threading.Thread(target=work, daemon=True).start()


class Edge(Party):
    """Started through the door in place of the edge."""

    def __init__(self, port: int) -> None:
        say(socket.socket(fileno=3), "edge")
        self.say(port, word="visited")


def main(arguments: list[str]) -> None:
    party: Any = Edge(int(arguments[0])) if arguments else Party()
    print(json.dumps("ready"), flush=True)  # noqa: T201
    serve(party, complaints=OSError)


if __name__ == "__main__":
    main(sys.argv[1:])
