"""The Vote tab and its endpoints: two pictures side by side, one vote, and only then how they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.route_utils import get_root_url
from sqlalchemy.orm import Session

from cogrpo.recipe import RecipeError
from cogrpo.registry import CheckpointError
from cogrpo.schedule import ScheduleError
from db import arena, voters
from db.arena import ArenaError, Said
from db.models import Presentation, Voter
from db.session import StoreError
from db.voters import VoterError
from ui.pairs import COLLECT, Pairs
from ui.records import Records

SIDES = ("left", "right")
YES, NO = ("true", "yes"), ("", "false", "no", "none")
# Callable, but neither in the API's pages nor an MCP tool: what votes should be a person.
UNLISTED = {"api_visibility": "undocumented", "show_progress": "hidden"}
REFUSED = (ArenaError, VoterError, StoreError, RecipeError, ScheduleError, CheckpointError)
API_ROOT = "/gradio_api/"

ON_LOAD = """
import(new URL('studio/vote.js', document.baseURI)).then(({ connect }) => connect(element, server));
"""

Answer = dict[str, Any]


class Arena:
    """Builds the tab inside a Blocks context."""

    def __init__(self, pairs: Pairs, records: Records) -> None:
        self.pairs, self.records = pairs, records
        gr.HTML(
            html_template="", js_on_load=ON_LOAD, apply_default_css=False, elem_id="vote",
            server_functions=[answering(self.next), answering(self.choose), answering(self.agree)],
        )  # fmt: skip
        with gr.Column(visible=False):  # the inputs and outputs of the endpoints
            purpose, voter, consent = gr.Textbox(COLLECT), gr.Textbox(""), gr.Textbox("")
            token, outcome = gr.Textbox(""), gr.Textbox("")
            told = gr.JSON()
            pair, vote = gr.Button("pair"), gr.Button("vote")
        asked = [purpose, voter, consent]
        pair.click(self.pair, asked, told, api_name="pair", concurrency_limit=2, **UNLISTED)
        vote.click(self.vote, [token, outcome, voter], told, api_name="vote", concurrency_limit=8, **UNLISTED)

    def pair(self, purpose: str, voter: str, consent: str, request: gr.Request) -> Answer:
        """Two pictures of one prompt, to be compared without knowing how they were made.

        Args:
            purpose: collect (default), or gate: candidate against champion, while a candidate waits for its verdict.
            voter: a pseudonym, as docs/api.md allows it; empty for a new one that nobody learns.
            consent: the version of the terms under which the vote may be released; empty for none.

        Returns:
            {presentation, prompt, left, right}: the token that admits one vote, and the addresses of two PNGs.
        """
        try:
            with self.records.writing() as session:  # before the work, which a refusal would waste
                known = voters.by_pseudonym(session, str(voter)) if voter else voters.untold(session)
                if version := agreed(consent):
                    voters.give_consent(session, known, version)
            painted = self.pairs.make(purpose or COLLECT)
            with self.records.writing() as session:
                told = about(self.pairs.show(session, known, *painted))
        except REFUSED as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
        root = root_of(request)
        return {**told, **{side: f"{root}/{told[side]}" for side in SIDES}}

    def vote(self, presentation: str, outcome: str, voter: str) -> Answer:
        """Say which picture of a pair is better.

        Args:
            presentation: the token that /pair gave.
            outcome: left, right, tie or bad (both are).
            voter: the pseudonym that /pair was given; empty where it was given none.

        Returns:
            What was hidden, once the vote is stored: {left, right}, the recipes.
        """
        try:
            return self._cast(presentation, str(voter or ""), Said(outcome=outcome))
        except REFUSED as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None

    def next(self, told: Answer) -> Answer:
        """For the page: the pair that this voter has not answered yet, else a new one; and the terms."""
        with self.records.writing() as session:
            voter = _voter(session, told)
            terms = self._terms(session, voter)
            waiting = arena.waiting(session, voter)
            if waiting is not None:
                return {**about(waiting), "terms": terms}
        painted = self.pairs.make(COLLECT)
        with self.records.writing() as session:
            return {**about(self.pairs.show(session, _voter(session, told), *painted)), "terms": terms}

    def choose(self, told: Answer) -> Answer:
        """For the page: a vote, and how long both pictures were in sight."""
        said = Said(outcome=told.get("outcome"), dwell_ms=told.get("dwell_ms"))
        return self._cast(told.get("presentation"), str(told.get("voter", "")), said)

    def agree(self, told: Answer) -> Answer:
        """For the page: give the consent to today's terms, or withdraw it."""
        with self.records.writing() as session:
            voter = _voter(session, told)
            if told.get("given"):
                voters.give_consent(session, voter, str(told.get("version")))
            else:
                voters.withdraw_consent(session, voter)
            return self._terms(session, voter)

    def _cast(self, token: Any, pseudonym: str, said: Said) -> Answer:
        with self.records.writing() as session:
            voter = voters.by_pseudonym(session, pseudonym) if pseudonym else None
            arena.cast(session, token, voter, said)
        # Not before the commit: what is told cannot be hidden again.
        with self.records.reading() as session:
            items = arena.shown_with(session, token).items
            return {side: item.generation.recipe for side, item in zip(SIDES, items, strict=True)}

    def _terms(self, session: Session, voter: Voter) -> Answer:
        given = voters.consent(session, voter) is not None
        return {"version": voters.TERMS, "licence": voters.LICENCE, "given": given}


def answering(act: Callable[[Answer], Answer]) -> Callable[[Any], Answer]:
    """What the page's script calls: a refusal comes back as {error: one sentence} instead of being raised."""

    def answer(told: Any) -> Answer:
        try:
            return act(told if isinstance(told, dict) else {})
        except REFUSED as refusal:
            return {"error": str(refusal)}

    answer.__name__ = act.__name__  # by which the script calls it
    return answer


def about(shown: Presentation) -> Answer:
    """What may be known of a pair before the vote; its addresses are relative to the page."""
    sides = {side: f"pairs/{shown.token}/{side}.png" for side in SIDES}
    return {"presentation": shown.token, "prompt": shown.prompt.text, **sides}


def agreed(consent: str) -> str | None:
    """The version of the terms that a caller means, who may also say yes or no."""
    text = str(consent or "").strip()
    if text.lower() in NO:
        return None
    return voters.TERMS if text.lower() in YES else text


def root_of(request: gr.Request) -> str:
    """The address at which the caller sees the app, also behind a proxy."""
    inner = request.request
    route = inner.url.path
    route = route[route.index(API_ROOT) :] if API_ROOT in route else ""
    return get_root_url(inner, route, inner.scope.get("root_path"))


def _voter(session: Session, told: Answer) -> Voter:
    return voters.by_pseudonym(session, str(told.get("voter", "")))
