"""A trust domain whose certificates can be taken back: an authority that signs, and one in reserve.

Whoever checks certificates trusts both from the start. To revoke is to let the reserve sign and to trust the
former authority no more: every holder gets a new certificate, which everybody accepts already, and then the
old ones open nothing. Not all listeners know revocation lists; every one knows whom it trusts.
"""

from datetime import datetime
from pathlib import Path

from troth.core.ca import Authority, same_key
from troth.core.errors import PlatformError
from troth.core.secret import write_public

_SIGNS, _RESERVE, _TRUSTED = "ca", "next", "trusted.pem"


class Trust:
    """One trust domain in `folder/name`. `trusted` is the file with all authorities that count."""

    def __init__(self, folder: Path, name: str, now: datetime) -> None:
        self._folder, self._name = folder, name
        self.trusted = folder / name / _TRUSTED
        self._finish_promotion()
        self.authority = Authority.open(folder, name, now=now)
        self._reserve = Authority.open(folder, name, now=now, stem=_RESERVE)
        self._write(self.authority, self._reserve)

    @classmethod
    def open(cls, folder: Path, name: str, *, now: datetime) -> "Trust":
        """Load the trust domain or make it. Raises PlatformError as `Authority.open` does."""
        return cls(folder, name, now)

    def promote(self, now: datetime) -> None:
        """The reserve signs from now on, and a new one is made. The former authority is still trusted, until
        `drop_former`. Each step leaves the folder as `open` understands it."""
        former = self.authority
        place = self._folder / self._name
        (place / f"{_RESERVE}.pem").replace(place / f"{_SIGNS}.pem")
        self._finish_promotion()
        self.authority = Authority.open(self._folder, self._name, now=now)
        self._reserve = Authority.open(self._folder, self._name, now=now, stem=_RESERVE)
        self._write(former, self.authority, self._reserve)

    def drop_former(self) -> None:
        """Trust what signs and the reserve, and nobody else. Whoever checks has to read the file again."""
        self._write(self.authority, self._reserve)

    def _finish_promotion(self) -> None:
        """Certificate and key are two files: a promotion that was cut short between them is finished here."""
        place = self._folder / self._name
        certificate, key = place / f"{_SIGNS}.pem", place / f"{_RESERVE}.key"
        if certificate.exists() and key.exists() and same_key(certificate, key):
            key.replace(place / f"{_SIGNS}.key")

    def _write(self, *trusted: Authority) -> None:
        try:
            write_public(self.trusted, b"".join(one.certificate_pem for one in trusted))
        except OSError as error:
            raise PlatformError(f"{self.trusted} cannot be written: {error.strerror}.") from error
