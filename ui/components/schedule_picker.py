"""A menu of schedules that shows each one's four curves, not its name alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import gradio as gr

Table = Sequence[Sequence[float]]

WIDTH, HEIGHT = 56, 22
COLUMNS = ("r, hidden", "τₛ, boldness", "τᵣ, chance", "s, guidance")

# A menu of radio items; a choice closes it and reaches Python as a change of the value. A table that comes
# with a recipe is no item: it stands on the menu's face until something else is chosen.
ON_LOAD = (
    f"""
const [WIDE, HIGH] = [{WIDTH - 4}, {HEIGHT - 3}];
"""
    + """
const menu = element.querySelector('details');
const items = [...element.querySelectorAll('[role=menuitemradio]')];
const face = element.querySelector('summary span');
function show() {
  for (const item of items) {
    const chosen = item.dataset.name === props.value;
    item.setAttribute('aria-checked', chosen);
    if (chosen) face.innerHTML = item.querySelector('b').outerHTML + item.querySelector('svg').outerHTML;
  }
  if (props.value.startsWith('{')) showTable(JSON.parse(props.value));
}
function showTable({ name, table }) {
  const x = (row) => 2 + row * WIDE / Math.max(1, table.length - 1);
  const points = table.map(([r], row) => `${x(row)},${HIGH - r * (HIGH - 3)}`).join(' ');
  face.innerHTML = `<b></b> table of a recipe ${items[0].querySelector('svg').outerHTML}`;
  face.querySelector('polyline').setAttribute('points', points);
  face.querySelector('b').textContent = name;
}
function choose(item) {
  props.value = item.dataset.name;
  menu.open = false;
  menu.querySelector('summary').focus();
  queueMicrotask(show);
}
element.addEventListener('click', (event) => {
  const item = event.target.closest('[role=menuitemradio]');
  if (item) choose(item);
});
element.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && menu.open) {
    menu.open = false;
    menu.querySelector('summary').focus();
    event.stopPropagation();
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  menu.open = true;
  const at = items.indexOf(document.activeElement);
  items[(at + step + items.length) % items.length].focus();
  event.preventDefault();
  event.stopPropagation();
});
menu.addEventListener('focusout', (event) => { if (!menu.contains(event.relatedTarget)) menu.open = false; });
watch('value', show);
show();
"""
)


def schedule_picker(
    tables: Mapping[str, Table],
    notes: Mapping[str, str],
    value: str,
    label: str = "Schedule",
    elem_id: str = "schedule",
) -> gr.HTML:
    """A component whose value is the name of a schedule, or a table as text (see `ui/table_text.py`).

    tables: name -> [T, 4] numbers to draw; notes: name -> a few words said beside it.
    """
    heads = "".join(f"<span>{text}</span>" for text in COLUMNS)
    items = "".join(_item(name, table, notes.get(name, "")) for name, table in tables.items())
    template = (
        f'<details class="cg-picker"><summary aria-haspopup="menu"><em>{label}</em> <span></span></summary>'
        f'<div role="menu" aria-label="{label}"><p><span></span>{heads}</p>{items}</div></details>'
    )
    return gr.HTML(
        value,
        label=label,
        html_template=template,
        js_on_load=ON_LOAD,
        apply_default_css=False,
        elem_id=elem_id,
    )


def _item(name: str, table: Table, note: str) -> str:
    curves = "".join(
        _curve([row[column] for row in table], 0 if column == 0 else None) for column in range(4)
    )
    return (
        f'<button type="button" role="menuitemradio" aria-checked="false" data-name="{escape(name)}">'
        f"<span><b>{escape(name)}</b><small>{escape(note)}</small></span>{curves}</button>"
    )


def _curve(values: Sequence[float], floor: float | None) -> str:
    """One column of a table as a line: r on its full range from 1 to 0, the others on their own."""
    low = min(values) if floor is None else floor
    high = max(*values, 1.0) if floor is not None else max(values)
    flat = high - low < 1e-6
    places = [0.5 if flat else (value - low) / (high - low) for value in values]
    step = (WIDTH - 4) / max(1, len(values) - 1)
    points = " ".join(f"{2 + i * step:.1f},{HEIGHT - 3 - y * (HEIGHT - 6):.1f}" for i, y in enumerate(places))
    figures = f"{values[0]:.2g}" if flat else f"{values[0]:.2g} to {values[-1]:.2g}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{figures}">'
        f'<polyline points="{points}"/></svg>'
    )
