"""Tickets and announcements, as the collections in ../schemas describe them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from .api import Content, Document

CATEGORIES = ("heating", "water", "electricity", "lift", "doors", "outdoors", "other")
URGENCIES = ("low", "normal", "urgent")
STATUSES = ("open", "in_progress", "done")
KINDS = ("notice", "maintenance", "event")

TITLE_LENGTH = 120
LOCATION_LENGTH = 120
DESCRIPTION_LENGTH = 4000
ANSWER_LENGTH = 2000
BODY_LENGTH = 8000


@dataclass(frozen=True, slots=True)
class Ticket:
    """Something that needs looking after. `reporter` is the name of the person who filed it,
    `answer` what the management says to it; either may be empty."""

    id: UUID
    version: int
    owner: str
    created_at: datetime
    updated_at: datetime
    category: str
    urgency: str
    status: str
    location: str
    title: str
    description: str
    reporter: str
    answer: str

    @property
    def number(self) -> str:
        """Short enough to say on the telephone."""
        return self.id.hex[-6:].upper()


@dataclass(frozen=True, slots=True)
class Announcement:
    """News for everyone in the house. `valid_until` is the last day on which it is shown, None for always."""

    id: UUID
    version: int
    created_at: datetime
    updated_at: datetime
    title: str
    body: str
    category: str
    valid_until: date | None

    def is_over(self, today: date) -> bool:
        return self.valid_until is not None and self.valid_until < today


def read_ticket(document: Document) -> Ticket:
    """A word outside our lists is shown as `other`, `normal` or `open` rather than breaking the page."""
    content = document.content
    return Ticket(
        id=document.id,
        version=document.version,
        owner=document.owner,
        created_at=document.created_at,
        updated_at=document.updated_at,
        category=_one_of(content, "category", CATEGORIES, "other"),
        urgency=_one_of(content, "urgency", URGENCIES, "normal"),
        status=_one_of(content, "status", STATUSES, "open"),
        location=_text(content, "location"),
        title=_text(content, "title"),
        description=_text(content, "description"),
        reporter=_text(content, "reporter"),
        answer=_text(content, "answer"),
    )


def read_announcement(document: Document) -> Announcement:
    return Announcement(
        id=document.id,
        version=document.version,
        created_at=document.created_at,
        updated_at=document.updated_at,
        title=_text(document.content, "title"),
        body=_text(document.content, "body"),
        category=_one_of(document.content, "category", KINDS, "notice"),
        valid_until=parse_day(_text(document.content, "valid_until")),
    )


def count_by_status(tickets: Iterable[Ticket]) -> dict[str, int]:
    counts = Counter(ticket.status for ticket in tickets)
    return {status: counts[status] for status in STATUSES}


def parse_day(text: str) -> date | None:
    """`2026-11-23` as a date; None for anything else."""
    try:
        return date.fromisoformat(text) if len(text) == len("2026-11-23") else None
    except ValueError:
        return None


def _text(content: Content, name: str) -> str:
    value = content.get(name)
    return value if isinstance(value, str) else ""


def _one_of(content: Content, name: str, known: tuple[str, ...], otherwise: str) -> str:
    value = _text(content, name)
    return value if value in known else otherwise
