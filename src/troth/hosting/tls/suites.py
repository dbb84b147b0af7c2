"""Cipher suites, groups and protocol versions by their numbers (IANA, "TLS Parameters"), and their strength.

The weak ones are listed in order to be asked for: a server that agrees to one is found out.
"""

import msgspec

SSL_3, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304

VERSIONS: dict[int, str] = {
    SSL_3: "SSL 3.0",
    TLS_1_0: "TLS 1.0",
    TLS_1_1: "TLS 1.1",
    TLS_1_2: "TLS 1.2",
    TLS_1_3: "TLS 1.3",
}

FALLBACK = 0x5600
"""TLS_FALLBACK_SCSV (RFC 7507)."""

MODERN: dict[int, str] = {
    0x1301: "AES_128_GCM_SHA256",
    0x1302: "AES_256_GCM_SHA384",
    0x1303: "CHACHA20_POLY1305_SHA256",
    0x1304: "AES_128_CCM_SHA256",
    0x1305: "AES_128_CCM_8_SHA256",
}
"""Of TLS 1.3 (RFC 8446 appendix B.4)."""

CLASSIC: dict[int, str] = {
    0x0001: "RSA_WITH_NULL_MD5",
    0x0002: "RSA_WITH_NULL_SHA",
    0x0003: "RSA_EXPORT_WITH_RC4_40_MD5",
    0x0004: "RSA_WITH_RC4_128_MD5",
    0x0005: "RSA_WITH_RC4_128_SHA",
    0x0006: "RSA_EXPORT_WITH_RC2_CBC_40_MD5",
    0x0007: "RSA_WITH_IDEA_CBC_SHA",
    0x0008: "RSA_EXPORT_WITH_DES40_CBC_SHA",
    0x0009: "RSA_WITH_DES_CBC_SHA",
    0x000A: "RSA_WITH_3DES_EDE_CBC_SHA",
    0x0014: "DHE_RSA_EXPORT_WITH_DES40_CBC_SHA",
    0x0015: "DHE_RSA_WITH_DES_CBC_SHA",
    0x0016: "DHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0x0017: "DH_anon_EXPORT_WITH_RC4_40_MD5",
    0x0018: "DH_anon_WITH_RC4_128_MD5",
    0x001A: "DH_anon_WITH_DES_CBC_SHA",
    0x001B: "DH_anon_WITH_3DES_EDE_CBC_SHA",
    0x002F: "RSA_WITH_AES_128_CBC_SHA",
    0x0033: "DHE_RSA_WITH_AES_128_CBC_SHA",
    0x0034: "DH_anon_WITH_AES_128_CBC_SHA",
    0x0035: "RSA_WITH_AES_256_CBC_SHA",
    0x0039: "DHE_RSA_WITH_AES_256_CBC_SHA",
    0x003A: "DH_anon_WITH_AES_256_CBC_SHA",
    0x003B: "RSA_WITH_NULL_SHA256",
    0x003C: "RSA_WITH_AES_128_CBC_SHA256",
    0x003D: "RSA_WITH_AES_256_CBC_SHA256",
    0x0041: "RSA_WITH_CAMELLIA_128_CBC_SHA",
    0x0067: "DHE_RSA_WITH_AES_128_CBC_SHA256",
    0x006B: "DHE_RSA_WITH_AES_256_CBC_SHA256",
    0x0084: "RSA_WITH_CAMELLIA_256_CBC_SHA",
    0x0088: "DHE_RSA_WITH_CAMELLIA_256_CBC_SHA",
    0x0096: "RSA_WITH_SEED_CBC_SHA",
    0x009C: "RSA_WITH_AES_128_GCM_SHA256",
    0x009D: "RSA_WITH_AES_256_GCM_SHA384",
    0x009E: "DHE_RSA_WITH_AES_128_GCM_SHA256",
    0x009F: "DHE_RSA_WITH_AES_256_GCM_SHA384",
    0x00A6: "DH_anon_WITH_AES_128_GCM_SHA256",
    0xC006: "ECDHE_ECDSA_WITH_NULL_SHA",
    0xC007: "ECDHE_ECDSA_WITH_RC4_128_SHA",
    0xC008: "ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
    0xC009: "ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    0xC00A: "ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    0xC010: "ECDHE_RSA_WITH_NULL_SHA",
    0xC011: "ECDHE_RSA_WITH_RC4_128_SHA",
    0xC012: "ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0xC013: "ECDHE_RSA_WITH_AES_128_CBC_SHA",
    0xC014: "ECDHE_RSA_WITH_AES_256_CBC_SHA",
    0xC016: "ECDH_anon_WITH_RC4_128_SHA",
    0xC018: "ECDH_anon_WITH_AES_128_CBC_SHA",
    0xC019: "ECDH_anon_WITH_AES_256_CBC_SHA",
    0xC023: "ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    0xC024: "ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
    0xC027: "ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    0xC028: "ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    0xC02B: "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    0xC02C: "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    0xC02F: "ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    0xC030: "ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    0xC09C: "RSA_WITH_AES_128_CCM",
    0xC09D: "RSA_WITH_AES_256_CCM",
    0xC09E: "DHE_RSA_WITH_AES_128_CCM",
    0xC09F: "DHE_RSA_WITH_AES_256_CCM",
    0xC0AC: "ECDHE_ECDSA_WITH_AES_128_CCM",
    0xC0AD: "ECDHE_ECDSA_WITH_AES_256_CCM",
    0xC0AE: "ECDHE_ECDSA_WITH_AES_128_CCM_8",
    0xCCA8: "ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCA9: "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCAA: "DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
"""Of the versions before it, as far as servers can be met that have them."""

GROUPS: dict[int, tuple[str, int]] = {
    0x11EC: ("X25519MLKEM768", 3072),
    0x11EB: ("SecP256r1MLKEM768", 3072),
    0x001D: ("x25519", 3072),
    0x0017: ("secp256r1", 3072),
    0x0018: ("secp384r1", 7680),
    0x0019: ("secp521r1", 15360),
    0x001E: ("x448", 7680),
    0x0100: ("ffdhe2048", 2048),
    0x0101: ("ffdhe3072", 3072),
}
"""Name, and how many bits of RSA are as hard (NIST SP 800-57 part 1, table 2). A hybrid counts as its
classical half: the guide that grades it knows no other."""

POST_QUANTUM = frozenset({0x11EC, 0x11EB})

_BITS = (
    ("NULL", 0),
    ("_40_", 40),
    ("DES40", 40),
    ("3DES", 112),
    ("WITH_DES_", 56),
    ("_256_", 256),
    ("CHACHA20", 256),
    ("_128_", 128),
    ("IDEA", 128),
    ("SEED", 128),
)


class Suite(msgspec.Struct, frozen=True):
    """A cipher suite. `bits` is the strength of its cipher."""

    code: int

    @property
    def name(self) -> str:
        return f"TLS_{MODERN.get(self.code) or CLASSIC[self.code]}"

    @property
    def bits(self) -> int:
        # CCM of 128 bits ends its name without an underscore.
        return next(bits for mark, bits in _BITS if mark in f"{self.name}_")

    @property
    def is_authenticated(self) -> bool:
        """AEAD: the cipher tells forged bytes from real ones by itself."""
        return any(mark in self.name for mark in ("GCM", "CCM", "POLY1305"))

    @property
    def is_anonymous(self) -> bool:
        return "_anon_" in self.name

    @property
    def has_forward_secrecy(self) -> bool:
        return self.code in MODERN or "DHE_" in self.name
