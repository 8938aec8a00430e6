"""Presentations, votes and ratings on both databases: what is stored, what is refused, what happens at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from database import record
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import arena, generations, voters
from db.arena import ArenaError, Said
from db.models import Consent, Presentation, Vote, Voter, now
from db.session import Store
from db.voters import VoterError

ONE_SENTENCE = r"^[a-z_]+: (?!.*\. )[^\n]*\.$"
PAIR, FOUR = ("left", "right"), ("a", "b", "c", "d")


def show(
    session: Session, store: Store, name: str, pictures: tuple[str, ...] = PAIR, **facts
) -> Presentation:
    voter = voters.by_pseudonym(session, name)
    rows = [record(session, store, picture, voter=voter) for picture in pictures]
    return arena.present(session, voter, rows, **{"purpose": "collect", "probability": 0.5, **facts})


def shown(store: Store, name: str = "anna", pictures: tuple[str, ...] = PAIR, **facts) -> str:
    """The token of a new presentation."""
    with store.write() as session:
        return show(session, store, name, pictures, **facts).token


def cast(store: Store, token: object, name: str | None = "anna", **said: object) -> Vote:
    with store.write() as session:
        voter = None if name is None else voters.by_pseudonym(session, name)
        return arena.cast(session, token, voter, Said(**said))


def count(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(Vote))


@pytest.mark.parametrize("outcome", ["left", "right", "tie", "bad"])
def test_a_vote_leads_to_the_recipes_of_what_was_seen(store: Store, outcome: str) -> None:
    token = shown(store)
    vote = cast(store, token, outcome=outcome, dwell_ms=4000, marked={"1": [5, 3, 5]}, missing=["Dog"])
    with store.read() as session:
        found = session.get_one(Vote, vote.id)
        assert (found.kind, found.outcome, found.dwell_ms) == ("pair", outcome, 4000)
        assert (found.marked, found.missing) == ({"1": [3, 5]}, ["dog"])
        assert (found.validity, found.reason, found.consent_id) == ("unchecked", None, None)
        assert found.presentation.used_at is not None
        assert [item.generation.recipe["seed"] for item in found.presentation.items] == [3, 3]


def test_a_ranking_holds_all_four_from_best_to_worst(store: Store) -> None:
    vote = cast(store, shown(store, pictures=FOUR), ranking=[2, 0, 3, 1])
    with store.read() as session:
        found = session.get_one(Vote, vote.id)
        assert (found.kind, found.ranking, found.outcome) == ("ranking", [2, 0, 3, 1], None)


def test_the_stored_seed_decides_the_sides_and_both_orders_come(store: Store) -> None:
    orders = Counter()
    with store.write() as session:
        for seed in range(40):
            pair = show(session, store, "anna", seed=seed)
            left = pair.items[0].generation
            orders[left.image_sha256] += 1
            assert arena.order(pair.seed, 2)[0] == [
                i.generation for i in sorted(pair.items, key=lambda item: item.generation_id)
            ].index(left)
    assert len(orders) == 2 and min(orders.values()) > 8
    assert sorted(arena.order(5, 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("pictures", "said", "field"),
    [
        (PAIR, {"outcome": "best"}, "outcome"),
        (PAIR, {"outcome": None}, "outcome"),
        (PAIR, {"outcome": ["left"]}, "outcome"),
        (PAIR, {"outcome": "left", "ranking": [0, 1]}, "outcome"),
        (PAIR, {"outcome": "left", "dwell_ms": -1}, "dwell_ms"),
        (PAIR, {"outcome": "left", "dwell_ms": 1.5}, "dwell_ms"),
        (PAIR, {"outcome": "left", "marked": {"2": [1]}}, "marked"),
        (PAIR, {"outcome": "left", "marked": {"0": [-1]}}, "marked"),
        (PAIR, {"outcome": "left", "marked": {"0": "12"}}, "marked"),
        (PAIR, {"outcome": "left", "missing": ["cat"]}, "missing"),
        (PAIR, {"outcome": "left", "missing": "dog"}, "missing"),
        (FOUR, {"ranking": [0, 1, 2]}, "ranking"),
        (FOUR, {"ranking": [0, 1, 2, 2]}, "ranking"),
        (FOUR, {"ranking": [0, 1, 2, 4]}, "ranking"),
        (FOUR, {"ranking": [0, 1, 2, True]}, "ranking"),
        (FOUR, {"ranking": "0123"}, "ranking"),
        (FOUR, {"ranking": [3, 2, 1, 0], "outcome": "left"}, "ranking"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_and_the_token_stays_good(store: Store, pictures, said, field) -> None:
    token = shown(store, pictures=pictures)
    with pytest.raises(ArenaError, match=ONE_SENTENCE) as refusal:
        cast(store, token, **said)
    assert str(refusal.value).startswith(field)
    assert count(store) == 0
    cast(store, token, **({"outcome": "tie"} if pictures is PAIR else {"ranking": [3, 2, 1, 0]}))
    assert count(store) == 1


@pytest.mark.parametrize("token", ["", "nothing", None, 7, "a\0b", "ü" * 9])
def test_an_unknown_token_is_refused(store: Store, token: object) -> None:
    with pytest.raises(ArenaError, match="this token is unknown"):
        cast(store, token, outcome="left")


def test_another_voter_and_nobody_are_refused(store: Store) -> None:
    token = shown(store)
    with pytest.raises(ArenaError, match="shown to another voter"):
        cast(store, token, "berta", outcome="left")
    with pytest.raises(ArenaError, match="name the voter"):
        cast(store, token, None, outcome="left")
    assert count(store) == 0
    cast(store, token, outcome="left")


def test_a_presentation_for_nobody_is_voted_on_by_its_token_alone(store: Store) -> None:
    with store.write() as session:
        voter = voters.untold(session)
        rows = [record(session, store, name, voter=voter) for name in PAIR]
        token = arena.present(session, voter, rows, "collect", 0.5).token
        with pytest.raises(VoterError):
            voters.by_pseudonym(session, voter.pseudonym)
    with pytest.raises(ArenaError, match="another voter"):
        cast(store, token, "anna", outcome="left")
    assert cast(store, token, None, outcome="left").consent_id is None


def test_an_expired_presentation_is_refused(store: Store) -> None:
    token = shown(store, lifetime=timedelta(seconds=-1))
    with pytest.raises(ArenaError, match=r"it expired at \d{4}-\d\d-\d\d \d\d:\d\d UTC"):
        cast(store, token, outcome="left")
    assert count(store) == 0


def test_a_second_vote_is_refused(store: Store) -> None:
    token = shown(store)
    cast(store, token, outcome="left")
    with pytest.raises(ArenaError, match="it has its vote already"):
        cast(store, token, outcome="right")
    assert count(store) == 1


def at_once(act: Callable[[int], object], times: int) -> list[object]:
    """What `act` gives or raises in that many threads that begin together."""
    gate = threading.Barrier(times)

    def run(number: int) -> object:
        gate.wait()
        try:
            return act(number)
        except ArenaError as error:
            return str(error)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


def test_of_votes_at_the_same_moment_one_is_stored(store: Store) -> None:
    for round_ in range(5):
        token = shown(store)
        told = at_once(lambda _, token=token: cast(store, token, outcome="left"), 8)
        assert sum(isinstance(vote, Vote) for vote in told) == 1
        refused = [text for text in told if isinstance(text, str)]
        assert len(refused) == 7 and all("it has its vote already" in text for text in refused)
        assert count(store) == round_ + 1


def test_of_ratings_at_the_same_moment_one_counts(store: Store) -> None:
    with store.write() as session:
        voters.by_pseudonym(session, "anna")
        picture = record(session, store, "one").id

    def rate(number: int) -> None:
        with store.write() as session:
            arena.rate(session, picture, voters.by_pseudonym(session, "anna"), {"overall": 1 + number % 7})

    at_once(rate, 8)
    with store.read() as session:
        rows = session.scalars(select(Vote).order_by(Vote.id)).all()
    assert len(rows) == 8 and sum(row.superseded_at is None for row in rows) == 1


def test_the_last_rating_of_a_voter_counts_and_the_others_stay(store: Store) -> None:
    with store.write() as session:
        anna, berta = (voters.by_pseudonym(session, name) for name in ("anna", "berta"))
        picture = record(session, store, "one").id
        arena.rate(session, picture, anna, {"alignment": 1}, "a bad one")
        arena.rate(session, picture, berta, {"overall": 2})
        arena.rate(session, picture, anna, {"alignment": 7, "fidelity": 4, "overall": 6})
    with store.read() as session:
        rows = session.scalars(select(Vote).order_by(Vote.id)).all()
        assert [row.superseded_at is None for row in rows] == [False, True, True]
        assert (rows[2].alignment, rows[2].fidelity, rows[2].overall, rows[2].note) == (7, 4, 6, None)
        assert rows[0].note == "a bad one" and rows[0].validity == "unchecked"


@pytest.mark.parametrize(
    ("ratings", "note", "field"),
    [
        ({"overall": 0}, None, "overall"), ({"fidelity": 8}, None, "fidelity"), ({"alignment": "5"}, None, "alignment"),
        ({"overall": 2.5}, None, "overall"), ({"overall": True}, None, "overall"), ({"beauty": 3}, None, "rating"),
        ({}, None, "rating"), ({}, "", "rating"), ({"overall": None}, "  ", "rating"), ({}, "x" * 2001, "note"),
        ({}, "a\0b", "note"), ({}, 7, "note"),
    ],
)  # fmt: skip
def test_a_rating_out_of_range_is_refused(store: Store, ratings, note, field) -> None:
    with store.write() as session:
        voter, picture = voters.by_pseudonym(session, "anna"), record(session, store, "one")
        with pytest.raises(ArenaError, match=ONE_SENTENCE) as refusal:
            arena.rate(session, picture.id, voter, ratings, note)
        assert str(refusal.value).startswith(field)
    assert count(store) == 0


@pytest.mark.parametrize("number", [99, -1, "1", None, 2**40])
def test_an_unknown_or_deleted_picture_cannot_be_rated(store: Store, number: object) -> None:
    with store.write() as session:
        voter, picture = voters.by_pseudonym(session, "anna"), record(session, store, "one")
        generations.delete(session, picture)
        for asked in (number, picture.id):
            with pytest.raises(ArenaError, match="this picture is unknown"):
                arena.rate(session, asked, voter, {"overall": 3})


def test_a_presentation_needs_two_or_four_pictures_of_one_prompt(store: Store) -> None:
    with pytest.raises(ArenaError, match="3 pictures are not allowed"):
        shown(store, pictures=("a", "b", "c"))
    with store.write() as session, pytest.raises(ArenaError, match="several prompts"):
        voter = voters.by_pseudonym(session, "anna")
        rows = [record(session, store, text, recipe={"prompt": text}) for text in ("a dog", "a cat")]
        arena.present(session, voter, rows, "collect", 0.5)


def test_a_voter_finds_the_last_pair_that_waits(store: Store) -> None:
    def waiting(name: str) -> str | None:
        with store.write() as session:
            pair = arena.waiting(session, voters.by_pseudonym(session, name))
            return None if pair is None else pair.token

    assert waiting("anna") is None
    first = shown(store)
    shown(store, lifetime=timedelta(seconds=-1))
    shown(store, pictures=FOUR)
    assert waiting("anna") == first and waiting("berta") is None
    cast(store, first, outcome="tie")
    assert waiting("anna") is None


def test_a_glance_is_suspicious_and_kept(store: Store) -> None:
    assert cast(store, shown(store), outcome="left", dwell_ms=300).validity == "unchecked"
    vote = cast(store, shown(store), outcome="left", dwell_ms=299)
    assert (vote.validity, vote.reason) == ("suspicious", "dwell: 299 ms is less than 300")
    assert count(store) == 2


def test_ten_outcomes_in_a_row_on_one_side_are_suspicious(store: Store) -> None:
    kinds = [cast(store, shown(store), outcome="left").validity for _ in range(11)]
    assert kinds == ["unchecked"] * 9 + ["suspicious"] * 2
    assert cast(store, shown(store, "berta"), "berta", outcome="left").validity == "unchecked"
    assert cast(store, shown(store), outcome="tie").validity == "unchecked"
    assert cast(store, shown(store), outcome="left").validity == "unchecked"


def test_a_vote_names_the_consent_that_held_when_it_was_cast(store: Store) -> None:
    with store.write() as session:
        anna = voters.by_pseudonym(session, "anna")
        given = voters.give_consent(session, anna, voters.TERMS)
        assert voters.give_consent(session, anna, voters.TERMS) is given
        assert (given.version, given.licence) == ("1", "CC BY 4.0")
        with pytest.raises(VoterError, match=ONE_SENTENCE):
            voters.give_consent(session, anna, "0")
    assert cast(store, shown(store), outcome="left").consent_id == given.id
    with store.write() as session:
        voters.withdraw_consent(session, voters.by_pseudonym(session, "anna"))
    assert cast(store, shown(store), outcome="left").consent_id is None
    with store.read() as session:
        assert session.get_one(Consent, given.id).withdrawn_at is not None


def test_after_erasing_nothing_leads_to_the_person_and_the_votes_stay(store: Store) -> None:
    token = shown(store)
    cast(store, shown(store), outcome="left")
    with store.write() as session:
        anna = voters.by_pseudonym(session, "anna")
        voters.give_consent(session, anna, voters.TERMS)
        arena.rate(session, record(session, store, "one").id, anna, {"overall": 3}, "it is me, Anna")
        voters.erase(session, anna)
        assert voters.by_pseudonym(session, "anna").id != anna.id
        erased = session.get_one(Voter, anna.id)
        assert "anna" not in erased.pseudonym and erased.login is None and erased.erased_at <= now()
        assert voters.consent(session, erased) is None
        assert [vote.note for vote in session.scalars(select(Vote).where(Vote.voter_id == erased.id))] == [
            None,
            None,
        ]
        with pytest.raises(ArenaError, match="it expired"):
            arena.cast(session, token, erased, Said(outcome="left"))


@pytest.mark.parametrize("pseudonym", ["", "a b", "x" * 57, "untold:ab", "ä", "a\n"])
def test_a_pseudonym_that_is_not_allowed_is_refused(store: Store, pseudonym: str) -> None:
    with store.write() as session, pytest.raises(VoterError, match="^voter: this is not allowed; "):
        voters.by_pseudonym(session, pseudonym)


def test_one_name_is_one_voter_also_at_the_same_moment(store: Store) -> None:
    def found(number: int) -> int:
        with store.write() as session:
            voter = (voters.by_login if number % 2 else voters.by_pseudonym)(session, "anna")
            return voter.id

    assert sorted(Counter(at_once(found, 8)).values()) == [4, 4]
