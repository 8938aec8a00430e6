"""The Gradio theme. Every colour is a name of `static/tokens.css`, which viewer and static page read too."""

from __future__ import annotations

import gradio as gr


def _both(**values: str) -> dict[str, str]:
    """The same variable for light and dark: tokens.css itself knows which theme is on."""
    return {key + suffix: value for key, value in values.items() for suffix in ("", "_dark")}


class StudioTheme(gr.themes.Base):
    """Calm and dense: system fonts, one accent, hairlines instead of boxes."""

    def __init__(self) -> None:
        super().__init__(
            font=("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"),
            font_mono=("ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"),
            radius_size=gr.themes.Size("4px", "4px", "4px", "7px", "7px", "10px", "10px"),
            spacing_size=gr.themes.sizes.spacing_sm,
            text_size=gr.themes.sizes.text_sm,
        )
        super().set(
            block_radius="7px",
            input_radius="7px",
            button_large_radius="7px",
            button_medium_radius="7px",
            button_small_radius="7px",
            block_border_width="0px",
            input_border_width="1px",
            block_padding="0",
            layout_gap="8px",
            block_shadow="none",
            input_shadow="none",
            button_transform_hover="none",
            **_both(
                body_background_fill="var(--cg-page)",
                body_text_color="var(--cg-ink-2)",
                body_text_color_subdued="var(--cg-ink-3)",
                background_fill_primary="var(--cg-card)",
                background_fill_secondary="var(--cg-sunken)",
                border_color_primary="var(--cg-line)",
                border_color_accent="var(--cg-accent)",
                color_accent_soft="var(--cg-wash)",
                block_background_fill="transparent",
                block_border_color="var(--cg-line)",
                block_label_text_color="var(--cg-ink-3)",
                block_title_text_color="var(--cg-ink-3)",
                input_background_fill="var(--cg-card)",
                input_background_fill_focus="var(--cg-card)",
                input_border_color="var(--cg-edge)",
                input_border_color_focus="var(--cg-accent)",
                input_border_color_hover="var(--cg-edge)",
                input_placeholder_color="var(--cg-ink-3)",
                input_shadow_focus="0 0 0 1px var(--cg-accent)",
                link_text_color="var(--cg-accent)",
                error_text_color="var(--cg-bad)",
                button_primary_background_fill="var(--cg-accent)",
                button_primary_background_fill_hover="var(--cg-accent)",
                button_primary_text_color="var(--cg-on-accent)",
                button_primary_border_color="var(--cg-accent)",
                button_secondary_background_fill="var(--cg-card)",
                button_secondary_background_fill_hover="var(--cg-sunken)",
                button_secondary_text_color="var(--cg-ink)",
                button_secondary_border_color="var(--cg-edge)",
                button_border_width="1px",
                checkbox_background_color="var(--cg-card)",
                checkbox_background_color_selected="var(--cg-accent)",
                checkbox_border_color="var(--cg-edge)",
                checkbox_border_color_selected="var(--cg-accent)",
                checkbox_label_background_fill="transparent",
                checkbox_label_background_fill_hover="transparent",
                checkbox_label_text_color="var(--cg-ink)",
            ),
        )
