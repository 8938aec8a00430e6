"""Which votes a round may learn from, and what it and its gate are told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, or_, select, union_all
from sqlalchemy.orm import Session

from db.artifacts import ArtifactError, Artifacts
from db.models import (
    Artifact,
    Checkpoint,
    Generation,
    Presentation,
    PresentationItem,
    Prompt,
    Round,
    RoundVote,
    Vote,
    Voter,
)
from db.voters import is_untold

TRUSTED = ("valid", "unchecked")  # a suspicious vote is kept, and waits until somebody has looked at it
CHECKS = ("gold", "mirror")  # purposes that judge the voter; their votes teach nothing about pictures
GATE = "gate"  # the purpose of pairs of candidate and champion


@dataclass(frozen=True)
class FrozenVote:
    """A vote as a round learns from it. pictures: (hash of the pixels, of the file) by position."""

    id: int
    kind: str
    voter: int
    named: bool  # whether the voter is known by a name; else each vote has a voter of its own
    prompt: str
    pictures: tuple[tuple[str, str], ...]
    outcome: str | None
    ranking: tuple[int, ...] | None
    overall: int | None


def takeable(model: str, lineage: Sequence[int]) -> Select[tuple[int]]:
    """The ids of votes on pictures of a model that no ancestor in `lineage` was trained on."""
    seen = union_all(
        select(Vote.id, Vote.generation_id).where(Vote.generation_id.is_not(None)),
        select(Vote.id, PresentationItem.generation_id).join(
            PresentationItem, PresentationItem.presentation_id == Vote.presentation_id
        ),
    ).subquery()
    # A picture that retention or its owner took away cannot be looked at again.
    gone = (
        select(seen.c.id)
        .join(Generation, Generation.id == seen.c.generation_id)
        .join(Artifact, Artifact.sha256 == Generation.image_sha256)
        .where(
            or_(
                Generation.model != model,
                Generation.deleted_at.is_not(None),
                Artifact.dropped_at.is_not(None),
            )
        )
    )
    used = (
        select(RoundVote.vote_id)
        .join(Round, Round.id == RoundVote.round_id)
        .where(Round.candidate_id.in_(lineage))
    )
    return (
        select(Vote.id)
        .join(Voter, Voter.id == Vote.voter_id)
        .outerjoin(Presentation, Presentation.id == Vote.presentation_id)
        .where(
            Vote.validity.in_(TRUSTED),
            Vote.superseded_at.is_(None),
            Voter.erased_at.is_(None),
            or_(Presentation.id.is_(None), Presentation.purpose.not_in(CHECKS)),
            Vote.id.in_(select(seen.c.id)),
            Vote.id.not_in(gone),
            Vote.id.not_in(used),
        )
    )


def frozen(session: Session, round: int) -> list[FrozenVote]:
    """The votes that a round froze, oldest first."""
    rows = session.scalars(
        select(Vote)
        .join(RoundVote, RoundVote.vote_id == Vote.id)
        .where(RoundVote.round_id == round)
        .order_by(Vote.id)
    )
    told = []
    for vote in rows:
        if vote.presentation is None:
            shown = [session.get_one(Generation, vote.generation_id)]
        else:
            shown = [item.generation for item in vote.presentation.items]
        pictures = tuple((picture.pixels_sha256, picture.image_sha256) for picture in shown)
        ranking = None if vote.ranking is None else tuple(vote.ranking)
        told.append(
            FrozenVote(
                vote.id,
                vote.kind,
                vote.voter_id,
                not is_untold(session.get_one(Voter, vote.voter_id)),
                shown[0].prompt.text,
                pictures,
                vote.outcome,
                ranking,
                vote.overall,
            )
        )
    return told


def readable(artifacts: Artifacts, votes: Sequence[FrozenVote]) -> tuple[list[FrozenVote], list[FrozenVote]]:
    """Those whose pictures are all there and whole, and the others. Raises OSError where that cannot be told now."""
    bad = set()
    for file in {file for vote in votes for _, file in vote.pictures}:
        try:
            artifacts.get(file)
        except ArtifactError:
            bad.add(file)
    kept, lost = [], []
    for vote in votes:
        (kept if bad.isdisjoint(file for _, file in vote.pictures) else lost).append(vote)
    return kept, lost


def leave_out(session: Session, round: int, votes: Sequence[FrozenVote]) -> None:
    """Take votes out of a round again: a later one may take them, should a backup bring their pictures back."""
    for vote in votes:
        session.execute(delete(RoundVote).where(RoundVote.round_id == round, RoundVote.vote_id == vote.id))


def gate_votes(session: Session, round: int) -> list[tuple[str, str]]:
    """What people said of a round's candidate beside the champion: (prompt, candidate | champion | tie | bad)."""
    left = PresentationItem
    rows = session.execute(
        select(Prompt.text, Vote.outcome, Generation.checkpoint_sha256 == Checkpoint.sha256)
        .select_from(Vote)
        .join(Presentation, Presentation.id == Vote.presentation_id)
        .join(Prompt, Prompt.id == Presentation.prompt_id)
        .join(left, (left.presentation_id == Presentation.id) & (left.position == 0))
        .join(Generation, Generation.id == left.generation_id)
        .join(Round, Round.id == Presentation.round_id)
        .join(Checkpoint, Checkpoint.id == Round.candidate_id)
        .where(
            Round.id == round, Presentation.purpose == GATE, Vote.kind == "pair", Vote.validity.in_(TRUSTED)
        )
        .order_by(Vote.id)
    )
    return [(prompt, _who(outcome, bool(candidate_left))) for prompt, outcome, candidate_left in rows]


def _who(outcome: str, candidate_left: bool) -> str:
    if outcome not in ("left", "right"):
        return outcome
    return "candidate" if (outcome == "left") == candidate_left else "champion"
