// When: every row of figures on one axis of steps, one column a step, with the column that is now. Where the columns do
// not fit, the rows are wider than their box and scroll together; their names stay.
import { fit, hatch, palette } from './palette.js';
import { drawThumbnail } from './maps.js';

/** @typedef {{record: import('./record.js').Record, t: number}} Moment */

const CURVES = [
  { name: 'Re-mask ratio r', note: 'share of all tokens hidden', column: 0, height: 100, digits: 2 },
  { name: 'Sampling temp. τₛ', note: 'boldness of guesses', column: 1, height: 70, digits: 2 },
  { name: 'Re-mask temp. τᵣ', note: 'chance in what stays', column: 2, height: 70, digits: 2 },
  { name: 'Guidance scale s', note: 'pull of the prompt', column: 3, height: 70, digits: 1 },
];
const NARROW = 560; // px
const COLUMN = 30; // px, the least: room for a figure and for a picture of 3 px a token

/** Where the columns lie. @param {number} room width of the box in CSS pixels @param {number} steps */
export function axis(room, steps) {
  const narrow = room < NARROW;
  const left = narrow ? 30 : 160;
  const column = Math.max(COLUMN, (room - left - 4) / steps);
  return {
    room, steps, narrow, left, column, width: left + column * steps + 4,
    x: (t) => left + (t + 0.5) * column,
    at: (x) => Math.max(0, Math.min(steps - 1, Math.floor((x - left) / column))),
  };
}

/** How far to scroll so that column t and those beside it are in sight. @param {number} from where the scroll is now */
export function inSight(grid, t, from) {
  const [first, last] = [grid.x(t - 1) - grid.column / 2 - grid.left, grid.x(t + 1) + grid.column / 2 - grid.room];
  return Math.max(0, Math.min(first, Math.max(last, from)));
}

/** Pictures after each step. @param {HTMLCanvasElement} canvas @param {Moment} moment */
export function drawFilm(canvas, moment, grid) {
  const { record, t: now } = moment;
  const edge = Math.floor(Math.min(58, grid.column - 4));
  const tall = Math.ceil((edge * record.rows) / record.columns);
  const context = fit(canvas, grid.width, tall + 8);
  const colours = palette(canvas);
  const pattern = hatch(context, colours, 5);
  for (let t = 0; t < record.steps; t++) {
    const x = Math.round(grid.x(t) - edge / 2);
    context.save();
    context.beginPath();
    context.roundRect(x, 4, edge, tall, 4);
    if (t < record.received) {
      context.clip();
      context.fillStyle = colours.card;
      context.fillRect(x, 4, edge, tall);
      context.globalAlpha = t > now ? 0.5 : 1;
      drawThumbnail(context, record, t, x, 4, edge, pattern);
    } else {
      context.setLineDash([3, 3]);
      context.strokeStyle = colours['line-2'];
      context.lineWidth = 1;
      context.stroke();
    }
    context.restore();
    if (t !== now) continue;
    context.strokeStyle = colours.card;
    context.lineWidth = 5;
    context.beginPath();
    context.roundRect(x - 1, 3, edge + 2, tall + 2, 5);
    context.stroke();
    context.strokeStyle = colours.accent;
    context.lineWidth = 2.5;
    context.stroke();
  }
}

/** The slider. @param {SVGElement} svg @param {Moment} moment */
export function drawTrack(svg, moment, grid) {
  const { record, t: now } = moment;
  const parts = [];
  const [first, last, here] = [grid.x(0), grid.x(record.steps - 1), grid.x(Math.max(0, now))];
  parts.push(wash(grid, now, 0, 44));
  parts.push(`<path class="track" d="M${first} 15H${last}"/>`);
  if (now >= 0) parts.push(`<path class="track done" d="M${first} 15H${here}"/>`);
  for (let t = 0; t < record.steps; t++) {
    const kind = t <= now ? 'done' : t < record.received ? 'here' : 'none';
    parts.push(`<circle class="stop ${kind}" cx="${grid.x(t)}" cy="15" r="3.5"/>`);
    parts.push(figure(grid.x(t), 37, t + 1, t === now));
  }
  if (now >= 0) parts.push(`<circle class="thumb" cx="${here}" cy="15" r="9"/>`);
  setSvg(svg, grid.width, 44, parts);
}

/** Decoded tokens, the four curves, entropy. @param {SVGElement} svg @param {SVGElement} names @param {Moment} moment */
export function drawRows(svg, names, moment, grid) {
  const { record, t: now } = moment;
  const frames = record.frames;
  const rows = { parts: [], names: [] };
  let y = 0;
  const head = grid.narrow ? 22 : 4;
  y = bars(rows, y, grid, now, 'New tokens', 'settled in this step', frames.map((f) => f.decoded),
    Math.max(4, ...frames.map((f) => f.decoded)), 30, 0, head);
  for (const curve of CURVES) y = drawCurve(rows, y, grid, moment, curve, head);
  y = bars(rows, y, grid, now, 'Entropy, nats', 'doubt left, hidden cells', frames.map((f) => f.entropy),
    Math.max(0.5, ...frames.map((f) => f.entropy)), 24, 1, head);
  setSvg(svg, grid.width, y, [wash(grid, now, 0, y), ...rows.parts]);
  setSvg(names, grid.left, y, rows.names);
}

/** How many tokens of two decodes differ after each step. @param {number[]} values */
export function drawDifferences(svg, names, values, now, grid) {
  const rows = { parts: [], names: [] };
  const head = grid.narrow ? 22 : 4;
  const y = bars(rows, 0, grid, now, 'Tokens that differ', 'between A and B', values, Math.max(4, ...values), 30, 0, head);
  setSvg(svg, grid.width, y, [wash(grid, now, 0, y), ...rows.parts]);
  setSvg(names, grid.left, y, rows.names);
}

/** A flag at step t, if there is one. @param {number} t -1: none @param {string} text */
export function drawFlag(svg, t, text, grid) {
  const turned = grid.x(t) + 90 > grid.width; // no room on its right
  const [x, w] = [grid.x(t), turned ? -86 : 86];
  const parts = t < 0 ? [] : [`<path class="flag" d="M${x} 22V3h${w}l${-w / 16} 7l${w / 16} 7H${x}"/>`,
    `<text class="flagged" x="${x + w / 2}" y="14">${text}</text>`];
  setSvg(svg, grid.width, 22, parts);
}

function bars({ parts, names }, y, grid, now, name, note, values, most, height, digits, head) {
  const floor = y + head + height;
  names.push(title(y + (grid.narrow ? 14 : 16), name, note, grid.narrow));
  const wide = Math.max(2, Math.min(28, grid.column * 0.62));
  values.forEach((value, t) => {
    const tall = Math.max(1, (value / most) * height);
    parts.push(`<rect class="bar${t === now ? ' now' : ''}" x="${grid.x(t) - wide / 2}" y="${floor - tall}" `
      + `width="${wide}" height="${tall}" rx="1.5"/>`);
    parts.push(figure(grid.x(t), floor + 14, value.toFixed(digits), t === now));
  });
  return floor + 24;
}

function drawCurve({ parts, names }, y, grid, { record, t: now }, curve, head) {
  const own = Array.from({ length: record.steps }, (_, t) => record.row(t)?.[curve.column] ?? null);
  const baselines = Object.entries(record.open.baselines ?? {});
  const every = [...own, ...baselines.flatMap(([, table]) => table.map((row) => row[curve.column]))];
  const [low, high] = curve.column === 0 ? [0, 1] : bounds(every.filter((value) => value !== null));
  const [top, floor] = [y + head + 6, y + head + curve.height - 26];
  const place = (value) => floor - ((value - low) / (high - low)) * (floor - top);
  const path = (values) => values.map((value, t) => (value === null ? '' : `${t && values[t - 1] !== null ? 'L' : 'M'}${
    grid.x(t).toFixed(1)} ${place(value).toFixed(1)}`)).join('');
  names.push(title(y + (grid.narrow ? 14 : head + 12), curve.name, curve.note, grid.narrow));
  parts.push(`<path class="rule" d="M${grid.left} ${floor + 0.5}H${grid.width}"/>`
    + `<path class="rule faint" d="M${grid.left} ${top + 0.5}H${grid.width}"/>`);
  names.push(`<text class="figure end" x="${grid.left - 6}" y="${top + 4}">${short(high)}</text>`
    + `<text class="figure end" x="${grid.left - 6}" y="${floor + 4}">${short(low)}</text>`);
  for (const [name, table] of baselines) {
    parts.push(`<path class="curve ${name}" d="${path(table.map((row) => row[curve.column]))}"/>`);
  }
  const kind = record.learned ? 'learned' : 'own';
  parts.push(`<path class="curve ${kind}" d="${path(own)}"/>`);
  own.forEach((value, t) => {
    if (value === null) return;
    if (t !== now) parts.push(`<circle class="dot ${kind}" cx="${grid.x(t)}" cy="${place(value)}" r="1.8"/>`);
    parts.push(figure(grid.x(t), floor + 15, value.toFixed(value < 10 ? curve.digits : 1), t === now));
  });
  if (own[now] !== null && now >= 0) {
    parts.push(`<circle class="dot now ${kind}" cx="${grid.x(now)}" cy="${place(own[now])}" r="4.5"/>`);
  }
  return y + head + curve.height;
}

/** Round limits around what is shown; a constant gets room on both sides. */
function bounds(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (most - least < 1e-6) return [Math.max(0, Math.floor(least) - (least >= 1 ? 1 : 0)), Math.ceil(most + 0.001)];
  const unit = 10 ** Math.floor(Math.log10(most - least));
  const low = Math.floor(least / unit + 1e-9) * unit;
  const high = Math.ceil(most / unit - 1e-9) * unit;
  return [low, high];
}

const short = (value) => String(Number(value.toFixed(2)));

const figure = (x, y, text, now) => `<text class="figure${now ? ' now' : ''}" x="${x.toFixed(1)}" y="${y}">${text}</text>`;

const title = (y, name, note, inline) => (inline
  ? `<text class="name" y="${y}">${name}<tspan class="note" dx="6">${note}</tspan></text>`
  : `<text class="name" y="${y}">${name}</text><text class="note" y="${y + 15}">${note}</text>`);

const wash = (grid, now, y, height) => (now < 0 ? ''
  : `<rect class="wash" x="${grid.x(now) - grid.column / 2}" y="${y}" width="${grid.column}" height="${height}"/>`);

function setSvg(svg, width, height, parts) {
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('width', String(width));
  svg.setAttribute('height', String(height));
  svg.innerHTML = parts.join('');
}
