"""Rounds in the store: claimed once, refused under an old fence, frozen once, a vote once per lineage."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from round_rows import champion, pair, picture, sha, voter, votes
from sqlalchemy import event, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from db import aliases, round_votes, rounds, voters
from db.models import (
    Alias,
    Artifact,
    Audit,
    Checkpoint,
    Generation,
    Metric,
    Round,
    RoundVote,
    Vote,
    Voter,
    now,
)
from db.rounds import LostLease, RoundError
from db.session import Store

MINUTE = timedelta(minutes=1)
PAST = -timedelta(seconds=1)  # a lease that has run out when it begins


@pytest.fixture
def ready(store: Store) -> Store:
    with store.write() as session:
        champion(session)
    return store


def start(store: Store, cause: str = "asked") -> rounds.Claim:
    """A new round, claimed."""
    with store.write() as session:
        rounds.begin(session, "emoji", cause)
        return rounds.claim(session, "me", MINUTE)


def train(store: Store, claim: rounds.Claim, name: str) -> None:
    """Take a claimed round to `candidate`."""
    with store.write() as session:
        rounds.freeze(session, claim.id, claim.fence, {})
        rounds.advance(session, claim.id, claim.fence, "frozen")
        rounds.found(session, claim.id, claim.fence, sha(name), name)


def judge(store: Store, claim: rounds.Claim, end: str | None, passed: bool = True) -> None:
    with store.write() as session:
        aliases.gated(session, claim.id, claim.fence, passed, {"passed": passed}, {})
        if end == "promoted":
            aliases.promote(session, claim.id, "test")
        if end == "rejected":
            aliases.reject(session, claim.id, "test", "worse")


def whole(store: Store, name: str, end: str | None = "promoted") -> int:
    """A round from its beginning to its end."""
    claim = start(store)
    train(store, claim, name)
    judge(store, claim, end)
    return claim.id


def taken(store: Store, round: int) -> list[int]:
    with store.read() as session:
        return list(
            session.scalars(
                select(RoundVote.vote_id).where(RoundVote.round_id == round).order_by(RoundVote.vote_id)
            )
        )


def state(store: Store, round: int) -> str:
    with store.read() as session:
        return session.get_one(Round, round).state


def serves(store: Store) -> dict[str, str]:
    with store.read() as session:
        return aliases.served(session)["emoji"]


CLAIMER = """
import sys
from datetime import timedelta
from db import rounds
from db.session import Store

store = Store(sys.argv[1], "unused")
print("ready", flush=True)
sys.stdin.readline()
while True:
    with store.write() as session:
        claim = rounds.claim(session, sys.argv[2], timedelta(minutes=5))
    if claim is None:
        break
    print(claim.id, claim.fence)
"""


def test_eight_processes_claim_a_hundred_rounds_and_each_round_is_claimed_once(store):
    with store.write() as session:
        for number in range(100):
            champion(session, f"model {number}")
            rounds.begin(session, f"model {number}", "asked")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, store.url.render_as_string(False), f"worker {number}"],
            cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(8)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:  # all at once, now that all are there
        worker.stdin.write("go\n")
        worker.stdin.flush()
    told = [line.split() for worker in workers for line in worker.communicate()[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert len(told) == 100 and {fence for _, fence in told} == {"1"}
    assert max(Counter(id for id, _ in told).values()) == 1


def test_a_round_whose_lease_ran_out_is_claimed_again_and_the_old_fence_writes_nothing(ready):
    with ready.write() as session:
        rounds.begin(session, "emoji", "asked")
        old = rounds.claim(session, "slow", PAST)
        new = rounds.claim(session, "quick", MINUTE)
        assert rounds.claim(session, "third", MINUTE) is None
    assert new.id == old.id and new.fence == old.fence + 1
    writes = [
        lambda s: rounds.heartbeat(s, old.id, old.fence, MINUTE),
        lambda s: rounds.tell(s, old.id, old.fence, {"step": 1}),
        lambda s: rounds.freeze(s, old.id, old.fence, {}),
        lambda s: rounds.advance(s, old.id, old.fence, "collecting"),
        lambda s: rounds.fail(s, old.id, old.fence, "error", 1, PAST),
        lambda s: rounds.release(s, old.id, old.fence),
    ]
    for write in writes:
        refused = pytest.raises(
            LostLease, match=f"^round: {old.id} is not held under fence {old.fence} .*\\.$"
        )
        with refused, ready.write() as session:
            write(session)
    with ready.read() as session:
        row = session.get_one(Round, old.id)
        assert (row.state, row.owner, row.attempts, row.error, row.progress) == (
            "collecting",
            "quick",
            0,
            None,
            {},
        )


def test_a_heartbeat_keeps_others_away(ready):
    with ready.write() as session:
        rounds.begin(session, "emoji", "asked")
        mine = rounds.claim(session, "me", PAST)
        rounds.heartbeat(session, mine.id, mine.fence, MINUTE)
        assert rounds.claim(session, "other", MINUTE) is None


def test_one_round_at_a_time_for_each_model(ready):
    start(ready)
    with pytest.raises(RoundError, match="^round: one of emoji is running"), ready.write() as session:
        rounds.begin(session, "emoji", "asked")
    with ready.write() as session:
        champion(session, "other")
        rounds.begin(session, "other", "asked")
        with pytest.raises(RoundError, match="no champion"):
            rounds.begin(session, "nobody", "asked")


def test_freezing_twice_gives_nothing_twice(ready):
    with ready.write() as session:
        cast = votes(session, ready.artifacts, 3)
    claim = start(ready)
    with ready.write() as session:
        assert rounds.freeze(session, claim.id, claim.fence, {"seed": 1}) == 3
    with pytest.raises(LostLease), ready.write() as session:
        rounds.freeze(session, claim.id, claim.fence, {"seed": 2})
    assert taken(ready, claim.id) == cast
    with ready.read() as session:
        assert session.get_one(Round, claim.id).config == {"seed": 1}


def test_a_freeze_that_fails_halfway_leaves_nothing(ready, monkeypatch):
    with ready.write() as session:
        votes(session, ready.artifacts, 2)
    claim = start(ready)

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(rounds, "insert", broken)
    with pytest.raises(ZeroDivisionError), ready.write() as session:
        rounds.freeze(session, claim.id, claim.fence, {})
    assert state(ready, claim.id) == "collecting" and taken(ready, claim.id) == []


def test_a_vote_is_used_once_per_lineage(ready):
    with ready.write() as session:
        first = votes(session, ready.artifacts, 2)
    assert taken(ready, whole(ready, "first")) == first
    with ready.write() as session:
        second = votes(session, ready.artifacts, 2)
    assert taken(ready, whole(ready, "second")) == second
    assert taken(ready, whole(ready, "third")) == []


@pytest.mark.parametrize("end", ["rejected", "rolled back", "parked"])
def test_votes_of_a_round_that_led_nowhere_are_free_again(ready, end):
    with ready.write() as session:
        cast = votes(session, ready.artifacts, 2)
    if end == "parked":
        claim = start(ready)
        with ready.write() as session:
            rounds.freeze(session, claim.id, claim.fence, {})
            assert rounds.fail(session, claim.id, claim.fence, "no", 1, PAST)
    else:
        whole(ready, "first", "promoted" if end == "rolled back" else end)
    with ready.write() as session:
        if end == "rolled back":
            aliases.rollback(session, "emoji", "admin")
        assert rounds.new_votes(session, "emoji") == 0, "they alone start no round"
        more = votes(session, ready.artifacts, 1)
    assert taken(ready, whole(ready, "next")) == cast + more


def test_only_votes_that_can_be_learned_from_are_taken(ready):
    with ready.write() as session:
        art, who, gone = ready.artifacts, voter(session), voter(session)
        session.get_one(Voter, gone).erased_at = now()

        def vote(by=who, model="emoji", **told):
            shown = [picture(session, art, "a dog", model=model) for _ in range(2)]
            return pair(session, by, "a dog", *shown, **told), shown

        good, _ = vote()
        vote(validity="suspicious"), vote(validity="rejected"), vote(purpose="gold"), vote(purpose="mirror")
        vote(by=gone), vote(model="other")
        _, hidden = vote()
        session.get_one(Generation, hidden[1]).deleted_at = now()
        _, dropped = vote()
        session.get_one(Artifact, session.get_one(Generation, dropped[0]).image_sha256).dropped_at = now()
        rated = picture(session, art, "a cat")
        ratings = [
            Vote(kind="rating", voter_id=who, generation_id=rated, overall=overall, superseded_at=when)
            for overall, when in ((2, now()), (6, None))
        ]
        session.add_all(ratings)
        session.flush()
        kept = ratings[1].id
    assert taken(ready, whole(ready, "first")) == [good, kept]


def test_frozen_votes_tell_what_was_seen(ready):
    with ready.write() as session:
        who = voter(session)
        shown = [picture(session, ready.artifacts, "a dog") for _ in range(2)]
        chosen = pair(session, who, "a dog", *shown, outcome="right")
        session.add(Vote(kind="rating", voter_id=who, generation_id=shown[0], overall=5))
        hashes = [session.get_one(Generation, id).pixels_sha256 for id in shown]
        pair(session, voters.untold(session).id, "a dog", *shown)
    round = whole(ready, "first")
    with ready.read() as session:
        first, second, third = round_votes.frozen(session, round)
    assert (first.id, first.voter, first.prompt, first.outcome) == (chosen, who, "a dog", "right")
    assert [pixels for pixels, _ in first.pictures] == hashes
    assert (second.kind, second.overall, len(second.pictures)) == ("rating", 5, 1)
    assert (first.named, second.named, third.named) == (True, True, False)


def test_a_round_is_due_by_votes_by_time_and_not_while_one_runs(ready):
    with ready.write() as session:
        assert rounds.due(session, "emoji", 2, None) is None
        votes(session, ready.artifacts, 2)
        assert rounds.due(session, "emoji", 3, None) is None
        assert rounds.due(session, "emoji", 3, timedelta(hours=1)) is None
        assert rounds.due(session, "emoji", 3, timedelta(0)) == "timer"
        assert rounds.due(session, "emoji", 2, None) == "votes"
    start(ready)
    with ready.read() as session:
        assert rounds.due(session, "emoji", 2, timedelta(0)) is None


def test_the_third_failure_parks_with_its_traceback_and_a_person_may_send_it_on(ready):
    claim = start(ready)
    train(ready, claim, "first")
    for attempt in range(3):
        with ready.write() as session:
            parked = rounds.fail(session, claim.id, claim.fence, f"Traceback {attempt}", 3, PAST)
            assert parked == (attempt == 2)
            claim = rounds.claim(session, "me", MINUTE) or claim
    with ready.read() as session:
        row = session.get_one(Round, claim.id)
        assert (row.state, row.attempts, row.error) == ("failed", 3, "Traceback 2")
        assert rounds.running(session, "emoji") is None
    with ready.write() as session:
        rounds.retry(session, claim.id, "admin")
        again = rounds.claim(session, "me", MINUTE)
        assert (again.id, again.state, again.attempts) == (claim.id, "candidate", 0)
        assert session.scalar(select(Audit.actor).where(Audit.action == "retry")) == "admin"
    with pytest.raises(RoundError, match="is not parked"), ready.write() as session:
        rounds.retry(session, claim.id, "admin")


def test_a_failed_round_rests_before_it_is_claimed_again(ready):
    claim = start(ready)
    with ready.write() as session:
        rounds.fail(session, claim.id, claim.fence, "no", 3, MINUTE)
        assert rounds.claim(session, "me", MINUTE) is None


def test_a_parked_round_of_an_older_champion_stays_parked(ready):
    claim = start(ready)
    with ready.write() as session:
        rounds.fail(session, claim.id, claim.fence, "no", 1, PAST)
    whole(ready, "other")
    with pytest.raises(RoundError, match="another champion"), ready.write() as session:
        rounds.retry(session, claim.id, "admin")


def test_a_line_of_training_is_kept_once(ready):
    claim = start(ready)
    with ready.write() as session:
        rounds.freeze(session, claim.id, claim.fence, {})
        rounds.advance(session, claim.id, claim.fence, "frozen")
        for reward in (0.1, 0.2):
            rounds.note(session, claim.id, claim.fence, 1, {"reward": reward})
    with ready.read() as session:
        assert [row.values for row in session.scalars(select(Metric))] == [{"reward": 0.2}]


def test_promotion_moves_the_champion_with_an_audit_row(ready):
    before = serves(ready)["champion"]
    round = whole(ready, "first")
    assert serves(ready) == {"champion": sha("first"), "previous": before, "baseline": before}
    with ready.read() as session:
        row = session.scalar(select(Audit).where(Audit.action == "promote"))
        assert (row.subject, row.details) == (
            "emoji:champion",
            {"round": round, "from": before, "to": sha("first")},
        )
        assert (
            session.scalar(select(Checkpoint.status).where(Checkpoint.sha256 == sha("first"))) == "promoted"
        )


def test_nothing_is_promoted_without_a_verdict_or_twice(ready):
    claim = start(ready)
    train(ready, claim, "first")
    with pytest.raises(RoundError, match="is candidate"), ready.write() as session:
        aliases.promote(session, claim.id, "admin")
    judge(ready, claim, None)
    assert state(ready, claim.id) == "gated"
    with ready.write() as session:
        assert rounds.claim(session, "me", MINUTE) is None, "it waits for a person"
        aliases.promote(session, claim.id, "admin")
    for decide in (
        lambda s: aliases.promote(s, claim.id, "admin"),
        lambda s: aliases.reject(s, claim.id, "admin", ""),
    ):
        with pytest.raises(RoundError, match="is promoted"), ready.write() as session:
            decide(session)


def test_a_candidate_is_not_promoted_over_another_champion_than_its_parent(ready):
    whole(ready, "first")
    claim = start(ready)
    train(ready, claim, "second")
    judge(ready, claim, None)
    with ready.write() as session:
        aliases.rollback(session, "emoji", "admin")
    with pytest.raises(RoundError, match="another champion"), ready.write() as session:
        aliases.promote(session, claim.id, "admin")
    assert state(ready, claim.id) == "gated"


def test_rollback_goes_down_the_lineage_with_audit_rows(ready):
    shipped = serves(ready)["champion"]
    whole(ready, "first")
    whole(ready, "second")
    told = []
    for _ in range(2):
        with ready.write() as session:
            told.append(aliases.rollback(session, "emoji", "admin"))
    assert told == [sha("first"), shipped]
    assert serves(ready) == {"champion": shipped, "baseline": shipped}
    with pytest.raises(RoundError, match="nothing was served before"), ready.write() as session:
        aliases.rollback(session, "emoji", "admin")
    with ready.read() as session:
        rows = session.scalars(select(Audit).where(Audit.action == "rollback").order_by(Audit.id)).all()
        assert [row.details for row in rows] == [
            {"from": sha("second"), "to": sha("first")}, {"from": sha("first"), "to": shipped},
        ]  # fmt: skip


def test_a_rollback_that_fails_halfway_moves_nothing(ready, monkeypatch):
    whole(ready, "first")
    before = serves(ready)

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(aliases, "_audit", broken)
    with pytest.raises(ZeroDivisionError), ready.write() as session:
        aliases.rollback(session, "emoji", "admin")
    assert serves(ready) == before


def test_an_alias_that_was_moved_meanwhile_is_not_moved_again(ready):
    whole(ready, "first")
    with ready.write() as session:
        held = session.get(Alias, ("emoji", "champion"))
        session.execute(update(Alias.__table__).where(Alias.__table__.c.name == "champion").values(fence=99))
        with pytest.raises(RoundError, match="^alias: emoji:champion was moved meanwhile"):
            aliases._move(session, held, held.checkpoint_id)


def test_another_program_version_moves_a_shipped_champion_and_no_learned_one(ready, tmp_path):
    with ready.write() as session:
        aliases.establish(
            session, "emoji", {"champion": sha("new"), "baseline": sha("new base")}, tmp_path, "start"
        )
    assert serves(ready) == {"champion": sha("new"), "baseline": sha("new base")}
    whole(ready, "learned")
    with ready.write() as session:
        aliases.establish(
            session, "emoji", {"champion": sha("newer"), "baseline": sha("new base")}, tmp_path, "start"
        )
    assert serves(ready)["champion"] == sha("learned")
    with ready.read() as session:
        assert session.scalar(select(func.count()).select_from(Audit).where(Audit.action == "upgrade")) == 2


def test_the_mirror_is_what_the_registry_reads_and_keeps_names_of_others(ready, tmp_path):
    file = tmp_path / "aliases.json"
    mine = {"emoji": {"mine": "1" * 64}, "other": {"champion": "3" * 64}}
    file.write_text(json.dumps(mine))

    def mirrored() -> bool:
        return aliases.mirror(ready, tmp_path)

    assert not mirrored(), "shipped weights need no name in a file"
    whole(ready, "first")
    whole(ready, "second")
    assert mirrored() and not mirrored()
    names = {"champion": sha("second"), "previous": sha("first"), "mine": "1" * 64}
    assert json.loads(file.read_text()) == mine | {"emoji": names}
    for _ in range(2):
        with ready.write() as session:
            aliases.rollback(session, "emoji", "admin")
    assert mirrored() and json.loads(file.read_text()) == mine
    file.write_text("{")
    whole(ready, "third")
    assert mirrored() and json.loads(file.read_text()) == {"emoji": {"champion": sha("third")}}


def test_a_champion_that_a_file_named_before_there_was_a_store_stays(store, tmp_path):
    (tmp_path / "aliases.json").write_text(json.dumps({"emoji": {"champion": sha("mine")}}))
    with store.write() as session:
        aliases.establish(
            session, "emoji", {"champion": sha("shipped"), "baseline": sha("base")}, tmp_path, "start"
        )
    assert serves(store)["champion"] == sha("mine")
    assert not aliases.mirror(store, tmp_path)


def test_app_and_worker_that_start_together_name_the_same_weights_once(store, tmp_path):
    shipped = {"champion": sha("shipped"), "baseline": sha("base")}
    other, begun, errors = Store(store.url, store.artifacts.root), threading.Event(), []

    @event.listens_for(other.engine, "before_cursor_execute")
    def writes(connection, cursor, statement, *_):
        if statement.startswith(("INSERT", "BEGIN IMMEDIATE")):
            begun.set()  # it has found nothing there, and now waits for the first one

    def second():
        try:
            with other.write() as session:
                aliases.establish(session, "emoji", shipped, tmp_path, "worker")
        except SQLAlchemyError as error:
            errors.append(error)

    thread = threading.Thread(target=second)
    with store.write() as session:
        aliases.establish(session, "emoji", shipped, tmp_path, "app")
        thread.start()
        assert begun.wait(20)
    thread.join()
    other.close()
    assert errors == [] and serves(store) == shipped


def test_a_program_version_that_another_process_has_just_named_is_no_error(ready, tmp_path, monkeypatch):
    def moved(*_):
        raise RoundError("alias: emoji:champion was moved meanwhile; look again.")

    monkeypatch.setattr(aliases, "_move", moved)
    with ready.write() as session:
        aliases.establish(session, "emoji", {"champion": sha("new")}, tmp_path, "worker")
        assert session.scalar(select(func.count()).select_from(Audit)) == 0


def test_the_gate_is_told_who_won_whichever_side_the_candidate_stood_on(ready):
    claim = start(ready)
    train(ready, claim, "new")
    with ready.write() as session:
        who, old = voter(session), serves(ready)["champion"]

        def vote(left, right, outcome, round=claim.id, purpose="gate", **told):
            shown = [picture(session, ready.artifacts, "a dog", weights=weights) for weights in (left, right)]
            pair(session, who, "a dog", *shown, outcome=outcome, purpose=purpose, round=round, **told)

        vote(sha("new"), old, "left"), vote(old, sha("new"), "left"), vote(old, sha("new"), "tie")
        vote(sha("new"), old, "bad"), vote(sha("new"), old, "right")
        vote(sha("new"), old, "left", purpose="collect", round=None)
        vote(sha("new"), old, "left", validity="suspicious")
        told = round_votes.gate_votes(session, claim.id)
    assert told == [("a dog", choice) for choice in ("candidate", "champion", "tie", "bad", "champion")]
