"""The results as a table for people, in README.md and at the terminal."""

from pathlib import Path

import msgspec

from bench.results import FILE, Entry

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

WORDS = {
    "start.3-members": ("Start, everything warm, to the first page; 3 members", "15 s"),
    "start.1-member": ("The same, 1 member", "5 s"),
    "memory.3-members": ("Memory of the whole platform at rest (PSS), 3 members", "900 MB"),
    "memory.1-member": ("The same, 1 member", "900 MB"),
    "keeper.4-instances": ("The keeper at rest, 4 instances", "2 % of a core"),
    "keeper.20-instances": ("The keeper at rest, 20 instances", "2 % of a core"),
    "replicas.postgres-killed": ("No write while PostgreSQL of the leader is killed", "3 s"),
    "replicas.member-killed": ("The same, its Patroni too", "3 s"),
    "replicas.frozen": ("The same, frozen", "8 s"),
    "replicas.handed-over": ("The same, the lead handed over", "1.5 s"),
    "replicas.quorum": ("Writes that a quorum of three members confirms", "one member alone"),
    "base backup against plain pg_basebackup": ("A base backup of 500 MB, sealed", "plain `pg_basebackup`"),
    "memory while a base backup is taken, against before it": ("Memory meanwhile", "before it"),
    "restore.10-MB against a plain copy": ("A restore of 10 MB, verified", "a plain copy"),
    "restore.10-MB drill": ("A drill of it, with its server", "120 s"),
    "restore.10-MB memory against before": ("Memory meanwhile", "before it"),
    "restore.100-MB against a plain copy": ("A restore of 100 MB, verified", "a plain copy"),
    "restore.100-MB drill": ("A drill of it, with its server", "120 s"),
    "restore.100-MB memory against before": ("Memory meanwhile", "before it"),
    "restore.500-MB against a plain copy": ("A restore of 500 MB, verified", "a plain copy"),
    "restore.500-MB drill": ("A drill of it, with its server", "120 s"),
    "restore.500-MB memory against before": ("Memory meanwhile", "before it"),
    "restore.2000-MB against a plain copy": ("A restore of 2,000 MB, verified", "a plain copy"),
    "restore.2000-MB drill": ("A drill of it, with its server", "120 s"),
    "restore.2000-MB memory against before": ("Memory meanwhile", "before it"),
    "edge.http1": ("Pages through the edge, HTTP/1.1", "bare Caddy, same upstream"),
    "edge.http1-p99": ("The same, p99", "bare Caddy"),
    "edge.http2": ("Pages through the edge, HTTP/2", "bare Caddy, same upstream"),
    "edge.http2-p99": ("The same, p99", "bare Caddy"),
    "domains.memory": ("Memory of edge and web instances, from 10 domains to 10,000", "50 MB"),
    "domains.sign-in": ("A sign-in among 10,000 domains", "the same among 10"),
    "api.read": ("Authenticated read through the API", "same server, bare `SELECT`"),
    "sealing.bulk": ("Sealing 1 MiB", "AES-GCM of `cryptography`"),
    "sealing.bulk-opened": ("Opening 1 MiB", "AES-GCM of `cryptography`"),
    "sealing.document": ("Sealing 800 bytes", "AES-GCM of `cryptography`"),
    "sealing.document-opened": ("Opening 800 bytes", "AES-GCM of `cryptography`"),
    "archive.sealed": ("Sealing a backup", "bare zstd and AES-GCM"),
    "archive.opened": ("Opening a backup", "bare zstd and AES-GCM"),
    "session.check": ("Session of a cookie", "a round trip of `SELECT 1`"),
    "oauth.introspect": ("Introspection of an access token", "node oidc-provider, in memory"),
    "session.check-http": ("Who is signed in, by cookie", "node oidc-provider's userinfo, in memory"),
    "signin.flood-rate": ("Sign-ins in a flood", "bare PBKDF2 in as many threads"),
    "signin.flood-others-p99": ("The wait of everybody else meanwhile, p99", "50 ms"),
    "session.logout-p99": ("Sign-out until every instance refuses, p99", "50 ms"),
    "oauth.refresh": ("Refresh with rotation, durable", "node oidc-provider, in memory"),
    "oauth.refresh-django": ("The same", "django-oauth-toolkit, same PostgreSQL"),
    "token.mint": ("Minting an access token", "one ES256 signature"),
    "token.verify": ("Verifying an unseen token", "one ES256 verification"),
    "token.verify-again": ("Verifying a token seen before", "one ES256 verification"),
}
"""Name → what was measured, against what. The order is that of the table; other names follow."""


def read_results(file: Path = FILE) -> list[Entry]:
    """The last results; none when nothing was measured yet."""
    return msgspec.json.decode(file.read_bytes(), type=list[Entry]) if file.exists() else []


def markdown(entries: list[Entry]) -> str:
    """One line for each aim, met or not; below, when and on what it was measured."""
    lines = ["| what | ours | against | ratio | aim | |", "|---|---:|---|---:|---:|---|"]
    lines += [_line(entry) for entry in sorted(entries, key=_place)]
    where = sorted({f"{entry.machine}, {entry.date[:10]}" for entry in entries})
    return "\n".join([*lines, "", *(f"Measured on {place}." for place in where)])


def write_into_readme() -> None:
    """Put the table between the two marks of README.md."""
    text = README.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    README.write_text(f"{head}{BEGIN}\n{markdown(read_results())}\n{END}{tail}")


def _line(entry: Entry) -> str:
    what, peer = WORDS.get(entry.name, (f"`{entry.name}`", ""))
    measured = f"{_number(entry.against)} {entry.unit}"
    against = peer if peer == measured else f"{peer}: {measured}" if peer else measured
    verdict = "met" if entry.met else "**not met**"
    ours = f"{_number(entry.ours)} {entry.unit}"
    return f"| {what} | {ours} | {against} | {entry.ratio:.2f} | {_sign(entry)} {entry.aim:g} | {verdict} |"


def _sign(entry: Entry) -> str:
    """Whether the aim is a floor or a ceiling: a ratio above it is met by a floor, missed by a ceiling."""
    return "≥" if entry.met == (entry.ratio >= entry.aim) else "≤"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _place(entry: Entry) -> tuple[int, str]:
    names = list(WORDS)
    return (names.index(entry.name) if entry.name in names else len(names), entry.name)
