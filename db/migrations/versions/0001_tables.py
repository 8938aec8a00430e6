"""The tables as votes began"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
Instant = sa.DateTime(timezone=True)
RUNNING = sa.text("NOT (state IN ('promoted', 'rejected', 'failed'))")
STATES = (
    "state IN ('collecting', 'frozen', 'training', 'candidate', 'gated', 'promoted', 'rejected', 'failed')"
)


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("dropped_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_artifacts")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])

    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=60), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.CheckConstraint(
            "status IN ('shipped', 'candidate', 'promoted', 'rejected')", name=op.f("ck_checkpoints_status")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["checkpoints.id"], name=op.f("fk_checkpoints_parent_id_checkpoints")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("model", "sha256", name=op.f("uq_checkpoints_model_sha256")),
    )
    op.create_index(op.f("ix_checkpoints_parent_id"), "checkpoints", ["parent_id"])

    op.create_table(
        "prompts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompts")),
        sa.UniqueConstraint("sha256", name=op.f("uq_prompts_sha256")),
    )
    op.create_table(
        "voters",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pseudonym", sa.String(length=64), nullable=False),
        sa.Column("login", sa.String(length=200), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("erased_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voters")),
        sa.UniqueConstraint("login", name=op.f("uq_voters_login")),
        sa.UniqueConstraint("pseudonym", name=op.f("uq_voters_pseudonym")),
    )
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(length=60), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_aliases_checkpoint_id_checkpoints")
        ),
        sa.PrimaryKeyConstraint("model", "name", name=op.f("pk_aliases")),
    )
    op.create_index(op.f("ix_aliases_checkpoint_id"), "aliases", ["checkpoint_id"])

    op.create_table(
        "consents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("voter_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("licence", sa.String(length=40), nullable=False),
        sa.Column("given_at", Instant, nullable=False),
        sa.Column("withdrawn_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(["voter_id"], ["voters.id"], name=op.f("fk_consents_voter_id_voters")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
    )
    op.create_index(op.f("ix_consents_voter_id"), "consents", ["voter_id"])

    op.create_table(
        "generations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.Integer(), nullable=False),
        sa.Column("voter_id", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("model", sa.String(length=60), nullable=False),
        sa.Column("checkpoint_sha256", sa.String(length=64), nullable=False),
        sa.Column("schedule", sa.String(length=80), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("sampler_version", sa.String(length=40), nullable=False),
        sa.Column("recipe", Json, nullable=False),
        sa.Column("pixels_sha256", sa.String(length=64), nullable=False),
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("trace_sha256", sa.String(length=64), nullable=False),
        sa.Column("milliseconds", sa.Double(), nullable=True),
        sa.Column("scores", Json, nullable=False),
        sa.Column("safety", sa.String(length=20), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("deleted_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(
            ["image_sha256"], ["artifacts.sha256"], name=op.f("fk_generations_image_sha256_artifacts")
        ),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_generations_prompt_id_prompts")),
        sa.ForeignKeyConstraint(
            ["trace_sha256"], ["artifacts.sha256"], name=op.f("fk_generations_trace_sha256_artifacts")
        ),
        sa.ForeignKeyConstraint(["voter_id"], ["voters.id"], name=op.f("fk_generations_voter_id_voters")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
    )
    op.create_index(op.f("ix_generations_checkpoint_sha256"), "generations", ["checkpoint_sha256"])
    op.create_index(op.f("ix_generations_created_at"), "generations", ["created_at"])
    op.create_index(op.f("ix_generations_image_sha256"), "generations", ["image_sha256"])
    op.create_index(op.f("ix_generations_pixels_sha256"), "generations", ["pixels_sha256"])
    op.create_index(op.f("ix_generations_prompt_id"), "generations", ["prompt_id"])
    op.create_index(op.f("ix_generations_trace_sha256"), "generations", ["trace_sha256"])
    op.create_index(op.f("ix_generations_voter_id"), "generations", ["voter_id"])

    op.create_table(
        "rounds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=60), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("cause", sa.String(length=40), nullable=False),
        sa.Column("config", Json, nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=True),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("owner", sa.String(length=120), nullable=True),
        sa.Column("lease_until", Instant, nullable=True),
        sa.Column("heartbeat_at", Instant, nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("progress", Json, nullable=False),
        sa.Column("report", Json, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("frozen_at", Instant, nullable=True),
        sa.Column("ended_at", Instant, nullable=True),
        sa.CheckConstraint(STATES, name=op.f("ck_rounds_state")),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["checkpoints.id"], name=op.f("fk_rounds_candidate_id_checkpoints")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["checkpoints.id"], name=op.f("fk_rounds_parent_id_checkpoints")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
    )
    op.create_index(op.f("ix_rounds_candidate_id"), "rounds", ["candidate_id"])
    op.create_index(op.f("ix_rounds_parent_id"), "rounds", ["parent_id"])
    op.create_index(op.f("ix_rounds_state"), "rounds", ["state"])
    op.create_index(
        op.f("uq_rounds_running"),
        "rounds",
        ["model"],
        unique=True,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )

    op.create_table(
        "schedules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=60), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("table", Json, nullable=False),
        sa.Column("voter_id", sa.Integer(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["voter_id"], ["voters.id"], name=op.f("fk_schedules_voter_id_voters")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("model", "name", name=op.f("uq_schedules_model_name")),
    )
    op.create_index(op.f("ix_schedules_voter_id"), "schedules", ["voter_id"])

    op.create_table(
        "gate_reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("verdict", Json, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_gate_reports_round_id_rounds")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_reports")),
    )
    op.create_index(op.f("ix_gate_reports_round_id"), "gate_reports", ["round_id"])

    op.create_table(
        "metrics",
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("values", Json, nullable=False),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_metrics_round_id_rounds")),
        sa.PrimaryKeyConstraint("round_id", "step", name=op.f("pk_metrics")),
    )
    op.create_table(
        "presentations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("voter_id", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=True),
        sa.Column("mirror_of_id", sa.Integer(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.Column("used_at", Instant, nullable=True),
        sa.CheckConstraint("kind IN ('pair', 'ranking')", name=op.f("ck_presentations_kind")),
        sa.CheckConstraint("probability > 0 AND probability <= 1", name=op.f("ck_presentations_probability")),
        sa.ForeignKeyConstraint(
            ["mirror_of_id"], ["presentations.id"], name=op.f("fk_presentations_mirror_of_id_presentations")
        ),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.id"], name=op.f("fk_presentations_prompt_id_prompts")
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_presentations_round_id_rounds")),
        sa.ForeignKeyConstraint(["voter_id"], ["voters.id"], name=op.f("fk_presentations_voter_id_voters")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_presentations")),
        sa.UniqueConstraint("token", name=op.f("uq_presentations_token")),
    )
    op.create_index(op.f("ix_presentations_mirror_of_id"), "presentations", ["mirror_of_id"])
    op.create_index(op.f("ix_presentations_prompt_id"), "presentations", ["prompt_id"])
    op.create_index(op.f("ix_presentations_round_id"), "presentations", ["round_id"])
    op.create_index(op.f("ix_presentations_voter_id"), "presentations", ["voter_id"])

    op.create_table(
        "presentation_items",
        sa.Column("presentation_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["generations.id"],
            name=op.f("fk_presentation_items_generation_id_generations"),
        ),
        sa.ForeignKeyConstraint(
            ["presentation_id"],
            ["presentations.id"],
            name=op.f("fk_presentation_items_presentation_id_presentations"),
        ),
        sa.PrimaryKeyConstraint("presentation_id", "position", name=op.f("pk_presentation_items")),
    )
    op.create_index(op.f("ix_presentation_items_generation_id"), "presentation_items", ["generation_id"])

    op.create_table(
        "votes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("voter_id", sa.Integer(), nullable=False),
        sa.Column("presentation_id", sa.Integer(), nullable=True),
        sa.Column("generation_id", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.Column("ranking", Json, nullable=True),
        sa.Column("alignment", sa.Integer(), nullable=True),
        sa.Column("fidelity", sa.Integer(), nullable=True),
        sa.Column("overall", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("marked", Json, nullable=True),
        sa.Column("missing", Json, nullable=True),
        sa.Column("dwell_ms", sa.Integer(), nullable=True),
        sa.Column("consent_id", sa.Integer(), nullable=True),
        sa.Column("validity", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("superseded_at", Instant, nullable=True),
        sa.CheckConstraint("(generation_id IS NULL) = (kind <> 'rating')", name=op.f("ck_votes_picture")),
        sa.CheckConstraint("(presentation_id IS NULL) = (kind = 'rating')", name=op.f("ck_votes_about")),
        sa.CheckConstraint("kind IN ('pair', 'ranking', 'rating')", name=op.f("ck_votes_kind")),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('left', 'right', 'tie', 'bad')", name=op.f("ck_votes_outcome")
        ),
        sa.CheckConstraint(
            "validity IN ('valid', 'suspicious', 'unchecked', 'rejected')", name=op.f("ck_votes_validity")
        ),
        sa.CheckConstraint("alignment IS NULL OR alignment BETWEEN 1 AND 7", name=op.f("ck_votes_alignment")),
        sa.CheckConstraint("fidelity IS NULL OR fidelity BETWEEN 1 AND 7", name=op.f("ck_votes_fidelity")),
        sa.CheckConstraint("overall IS NULL OR overall BETWEEN 1 AND 7", name=op.f("ck_votes_overall")),
        sa.ForeignKeyConstraint(["consent_id"], ["consents.id"], name=op.f("fk_votes_consent_id_consents")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_votes_generation_id_generations")
        ),
        sa.ForeignKeyConstraint(
            ["presentation_id"], ["presentations.id"], name=op.f("fk_votes_presentation_id_presentations")
        ),
        sa.ForeignKeyConstraint(["voter_id"], ["voters.id"], name=op.f("fk_votes_voter_id_voters")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_votes")),
        sa.UniqueConstraint("presentation_id", name=op.f("uq_votes_presentation_id")),
    )
    op.create_index(op.f("ix_votes_consent_id"), "votes", ["consent_id"])
    op.create_index(op.f("ix_votes_created_at"), "votes", ["created_at"])
    op.create_index(op.f("ix_votes_generation_id"), "votes", ["generation_id"])
    op.create_index(op.f("ix_votes_voter_id"), "votes", ["voter_id"])

    op.create_table(
        "round_votes",
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("vote_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_round_votes_round_id_rounds")),
        sa.ForeignKeyConstraint(["vote_id"], ["votes.id"], name=op.f("fk_round_votes_vote_id_votes")),
        sa.PrimaryKeyConstraint("round_id", "vote_id", name=op.f("pk_round_votes")),
    )
    op.create_index(op.f("ix_round_votes_vote_id"), "round_votes", ["vote_id"])


def downgrade() -> None:
    for table in (
        "round_votes",
        "votes",
        "presentation_items",
        "presentations",
        "metrics",
        "gate_reports",
        "schedules",
        "rounds",
        "generations",
        "consents",
        "aliases",
        "voters",
        "prompts",
        "checkpoints",
        "audit",
        "artifacts",
    ):
        op.drop_table(table)
