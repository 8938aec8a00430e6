"""The tables. One row of `votes` leads, by foreign keys alone, to the pictures that were seen and to the recipes that
paint them again bit for bit.

Only two rows are ever changed by more than one process, an alias and a round; both carry a fence, and a writer with an
older one is refused (`db.rounds`). Everything else is appended, or marked with the time at which it ceased to count.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# Constraints need names, or SQLite's batch migrations cannot find them again.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

STATES = ("collecting", "frozen", "training", "candidate", "gated", "promoted", "rejected", "failed")
ENDED = ("promoted", "rejected", "failed")
OUTCOMES = ("left", "right", "tie", "bad")
AXES = ("alignment", "fidelity", "overall")  # of a rating, each 1 to 7

Json = JSON().with_variant(JSONB(), "postgresql")
Sha256 = String(64)


class UtcTime(TypeDecorator[datetime]):
    """An instant with its zone: SQLite forgets zones, so all are stored as UTC and come back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone is not allowed; give one in UTC")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def now() -> datetime:
    return datetime.now(UTC)


def one_of(column: str, allowed: tuple[str, ...]) -> str:
    """The text of a check constraint."""
    return f"{column} IN ({', '.join(repr(value) for value in allowed)})"


RUNNING = text(f"NOT ({one_of('state', ENDED)})")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: UtcTime, dict[str, Any]: Json, list[Any]: Json}


class Voter(Base):
    """Who generates and votes: a pseudonym kept in the browser, or a login. Never an address."""

    __tablename__ = "voters"

    id: Mapped[int] = mapped_column(primary_key=True)
    pseudonym: Mapped[str] = mapped_column(String(64), unique=True)
    login: Mapped[str | None] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    erased_at: Mapped[datetime | None]


class Consent(Base):
    """That a voter agreed to a version of the terms, under which a vote may be released."""

    __tablename__ = "consents"

    id: Mapped[int] = mapped_column(primary_key=True)
    voter_id: Mapped[int] = mapped_column(ForeignKey("voters.id"), index=True)
    version: Mapped[str] = mapped_column(String(40))
    licence: Mapped[str] = mapped_column(String(40))
    given_at: Mapped[datetime] = mapped_column(default=now)
    withdrawn_at: Mapped[datetime | None]


class Prompt(Base):
    __tablename__ = "prompts"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(
        Sha256, unique=True
    )  # of the text, which may be too long for an index
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Artifact(Base):
    """Bytes that a row points at, stored under their hash. `dropped_at`: retention took them away, on purpose."""

    __tablename__ = "artifacts"

    sha256: Mapped[str] = mapped_column(Sha256, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))  # image, trace, shared, gif, report, ...
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)  # or when the same bytes came last
    dropped_at: Mapped[datetime | None]


class Checkpoint(Base):
    """Weights with their schedule policy. `folder`: where they lie in the data folder; None for the shipped ones.

    files: the artifact of each, name -> sha256, for machines where the folder is missing (`db.checkpoints`).
    """

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("model", "sha256"),
        CheckConstraint(one_of("status", ("shipped", "candidate", "promoted", "rejected")), name="status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(60))
    sha256: Mapped[str] = mapped_column(Sha256)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    status: Mapped[str] = mapped_column(String(20))
    folder: Mapped[str | None] = mapped_column(Text)
    files: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Alias(Base):
    """What a name such as `champion` means today. Changed in one transaction with a row of `audit`."""

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(String(60), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    fence: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime] = mapped_column(default=now)

    checkpoint: Mapped[Checkpoint] = relationship()


class SavedSchedule(Base):
    """A table of numbers under a name, drawn by a person or learned in a round."""

    __tablename__ = "schedules"
    __table_args__ = (UniqueConstraint("model", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(60))
    name: Mapped[str] = mapped_column(String(80))
    table: Mapped[list[Any]]  # [T][4]
    voter_id: Mapped[int | None] = mapped_column(ForeignKey("voters.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Generation(Base):
    """One picture: everything that paints it again, and the hashes by which its files are found."""

    __tablename__ = "generations"

    id: Mapped[int] = mapped_column(primary_key=True)
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), index=True)
    voter_id: Mapped[int | None] = mapped_column(ForeignKey("voters.id"), index=True)
    source: Mapped[str] = mapped_column(String(20))  # page, api, pair, round
    model: Mapped[str] = mapped_column(String(60))
    checkpoint_sha256: Mapped[str] = mapped_column(Sha256, index=True)
    schedule: Mapped[str] = mapped_column(String(80))
    steps: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    sampler_version: Mapped[str] = mapped_column(String(40))
    recipe: Mapped[dict[str, Any]]
    pixels_sha256: Mapped[str] = mapped_column(
        Sha256, index=True
    )  # of the picture itself, as rewards know it
    image_sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"), index=True)
    trace_sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"), index=True)
    milliseconds: Mapped[float | None]
    scores: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what rewards said when it was made
    safety: Mapped[str] = mapped_column(String(20), default="unchecked")
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    deleted_at: Mapped[datetime | None]

    prompt: Mapped[Prompt] = relationship()


class Presentation(Base):
    """What was shown to one voter, in which order and why. Its token admits one vote, once."""

    __tablename__ = "presentations"
    __table_args__ = (
        CheckConstraint(one_of("kind", ("pair", "ranking")), name="kind"),
        CheckConstraint("probability > 0 AND probability <= 1", name="probability"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(10))
    purpose: Mapped[str] = mapped_column(String(40))  # collect, gate, gold, mirror, ...
    voter_id: Mapped[int] = mapped_column(ForeignKey("voters.id"), index=True)
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), index=True)
    round_id: Mapped[int | None] = mapped_column(
        ForeignKey("rounds.id"), index=True
    )  # whose candidate is judged
    mirror_of_id: Mapped[int | None] = mapped_column(ForeignKey("presentations.id"), index=True)
    seed: Mapped[int] = mapped_column(BigInteger)  # decides which picture stands where
    probability: Mapped[float]  # with which it was chosen among what could have been shown
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    items: Mapped[list[PresentationItem]] = relationship(order_by="PresentationItem.position")
    prompt: Mapped[Prompt] = relationship()


class PresentationItem(Base):
    """One picture of a presentation; position 0 is left, or first."""

    __tablename__ = "presentation_items"

    presentation_id: Mapped[int] = mapped_column(ForeignKey("presentations.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    generation_id: Mapped[int] = mapped_column(ForeignKey("generations.id"), index=True)

    generation: Mapped[Generation] = relationship()


class Vote(Base):
    """What a person said: of a pair an outcome, of a ranking an order, of one picture a rating."""

    __tablename__ = "votes"
    __table_args__ = (
        CheckConstraint(one_of("kind", ("pair", "ranking", "rating")), name="kind"),
        CheckConstraint(f"outcome IS NULL OR {one_of('outcome', OUTCOMES)}", name="outcome"),
        CheckConstraint(
            one_of("validity", ("valid", "suspicious", "unchecked", "rejected")), name="validity"
        ),
        *(CheckConstraint(f"{axis} IS NULL OR {axis} BETWEEN 1 AND 7", name=axis) for axis in AXES),
        CheckConstraint("(presentation_id IS NULL) = (kind = 'rating')", name="about"),
        CheckConstraint("(generation_id IS NULL) = (kind <> 'rating')", name="picture"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    voter_id: Mapped[int] = mapped_column(ForeignKey("voters.id"), index=True)
    presentation_id: Mapped[int | None] = mapped_column(ForeignKey("presentations.id"), unique=True)
    generation_id: Mapped[int | None] = mapped_column(ForeignKey("generations.id"), index=True)
    outcome: Mapped[str | None] = mapped_column(String(10))
    ranking: Mapped[list[Any] | None]  # positions from best to worst
    alignment: Mapped[int | None]
    fidelity: Mapped[int | None]
    overall: Mapped[int | None]
    note: Mapped[str | None] = mapped_column(Text)
    marked: Mapped[dict[str, Any] | None]  # position -> [token, ...] that look bad
    missing: Mapped[list[Any] | None]  # words of the prompt that the picture left out
    dwell_ms: Mapped[int | None]  # from the moment at which both pictures were visible
    consent_id: Mapped[int | None] = mapped_column(ForeignKey("consents.id"), index=True)
    validity: Mapped[str] = mapped_column(String(20), default="unchecked")
    reason: Mapped[str | None] = mapped_column(Text)  # why it is suspicious or rejected
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    superseded_at: Mapped[datetime | None]  # a later rating by the same voter counts instead

    presentation: Mapped[Presentation | None] = relationship()


class Round(Base):
    """One turn of the loop, from frozen inputs to a verdict. Written under a lease, refused with an old fence."""

    __tablename__ = "rounds"
    __table_args__ = (
        CheckConstraint(one_of("state", STATES), name="state"),
        # One turn at a time for each model: no vote can be frozen into two at once.
        Index("uq_rounds_running", "model", unique=True, sqlite_where=RUNNING, postgresql_where=RUNNING),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(60))
    state: Mapped[str] = mapped_column(String(20), default="collecting", index=True)
    cause: Mapped[str] = mapped_column(String(40))  # votes, timer, asked
    config: Mapped[dict[str, Any]]  # of the round, as it was resolved when it began
    parent_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    folder: Mapped[str | None] = mapped_column(
        Text
    )  # its inputs and checkpoints, relative to the data folder
    owner: Mapped[str | None] = mapped_column(String(120))  # the worker that holds the lease
    lease_until: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)  # rises with every claim
    attempts: Mapped[int] = mapped_column(default=0)  # failures so far; parked as failed after three
    error: Mapped[str | None] = mapped_column(Text)  # the traceback of the last one
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)  # for people: step, steps, seconds left
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    frozen_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    parent: Mapped[Checkpoint] = relationship(foreign_keys=parent_id)
    candidate: Mapped[Checkpoint | None] = relationship(foreign_keys=candidate_id)


class RoundVote(Base):
    """Which vote went into which round; a round holds a vote once, and a lineage of checkpoints does, too."""

    __tablename__ = "round_votes"

    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), primary_key=True)
    vote_id: Mapped[int] = mapped_column(ForeignKey("votes.id"), primary_key=True, index=True)


class Metric(Base):
    """One line of a round's training."""

    __tablename__ = "metrics"

    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    values: Mapped[dict[str, Any]]


class GateReport(Base):
    """The verdict on a round's candidate; nothing is promoted without one."""

    __tablename__ = "gate_reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), index=True)
    passed: Mapped[bool]
    verdict: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Audit(Base):
    """Who changed what a visitor is served, and why. Only ever appended."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    actor: Mapped[str] = mapped_column(String(120))
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(120))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
