// Where: the four maps of one step. All four show the same cells in the same places; only what fills a cell differs.
import { fit, hatch, palette, stepColour } from './palette.js';
import { ANOTHER, SAME } from './parting.js';
import { hex } from './words.js';

/**
 * What the maps show. `cell` is the selected cell or -1; `whole` shows the model's whole guess;
 * `fade` in 0..1 is how far the new cells have come in; `apart` says of each cell how another decode differs (parting.js).
 * @typedef {{record: import('./record.js').Record, t: number, cell: number, whole: boolean, fade: number,
 *   apart?: Uint8Array}} View
 */

const CODE_FROM = 22; // px: a cell smaller than this cannot hold a code of 11 px
const DIGIT_FROM = 18;
const BADGE_FROM = 30;

/** @param {HTMLCanvasElement} canvas @param {View} view */
export function drawPicture(canvas, view) {
  const { record, t, whole } = view;
  const frame = record.frames[t];
  const natural = frame?.image.naturalWidth || record.columns * 16;
  const room = canvas.parentElement.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  const factor = Math.max(1, Math.floor((room * ratio) / natural)); // whole device pixels, so nothing is blurred
  const width = (natural * factor) / ratio;
  const side = width / record.columns;
  const height = side * record.rows;
  const context = fit(canvas, width, height);
  const colours = palette(canvas);
  const pattern = hatch(context, colours, 9);
  context.imageSmoothingEnabled = false;
  if (frame?.image.naturalWidth) context.drawImage(frame.image, 0, 0, width, height);
  const fresh = [];
  for (let cell = 0; cell < record.cells; cell++) {
    const [x, y] = place(record, cell, side);
    const state = record.state(t, cell);
    if (state === 'new') fresh.push([x, y]);
    if (whole && frame) continue;
    if (state === 'kept') continue;
    context.globalAlpha = state === 'new' ? 1 - view.fade : 1;
    context.fillStyle = pattern;
    context.fillRect(x, y, side, side);
    context.globalAlpha = 1;
    if (state === 'hidden') outline(context, colours.card, 1, x, y, side, 0);
  }
  context.globalAlpha = view.fade;
  for (const [x, y] of fresh) {
    outline(context, colours.halo, 4, x, y, side, 1);
    outline(context, colours.mark, 2, x, y, side, 1);
    corner(context, colours.mark, x + 1, y + 1, side / 5);
  }
  context.globalAlpha = 1;
  overlay(context, colours, view, side);
}

/** @param {HTMLCanvasElement} canvas @param {View} view */
export function drawTokens(canvas, view) {
  const { record, t } = view;
  const { context, colours, side } = ground(canvas, record);
  const pattern = hatch(context, colours, 6);
  const vocabulary = record.open.vocab;
  for (let cell = 0; cell < record.cells; cell++) {
    const [x, y] = place(record, cell, side);
    const state = record.state(t, cell);
    const inner = side - 1;
    context.fillStyle = pattern;
    if (state !== 'kept') context.fillRect(x, y, inner, inner);
    if (state === 'hidden') continue;
    context.globalAlpha = state === 'new' ? view.fade : 1;
    context.fillStyle = state === 'new' ? colours.accent : colours.kept;
    context.fillRect(x, y, inner, inner);
    if (state === 'new') corner(context, colours.card, x, y, side / 5);
    if (side >= CODE_FROM) {
      const text = hex(record.decision(t, cell).code, vocabulary);
      label(context, text, x + inner / 2, y + inner / 2, state === 'new' ? colours['on-accent'] : colours['ink-2'],
        state === 'new' ? 700 : 450, colours.font, Math.min(13, Math.max(11, side * 0.4)), inner - 1);
    }
    context.globalAlpha = 1;
  }
  overlay(context, colours, view, side);
}

/** @param {HTMLCanvasElement} canvas @param {View} view */
export function drawConfidence(canvas, view) {
  const { record, t } = view;
  const { context, colours, side } = ground(canvas, record);
  for (let cell = 0; cell < record.cells; cell++) {
    const [x, y] = place(record, cell, side);
    const state = record.state(t, cell);
    const decision = record.decision(t, cell);
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.strokeRect(x + 0.5, y + 0.5, side - 2, side - 2);
    if (!decision) continue;
    const edge = Math.max(2, Math.sqrt(Math.min(1, decision.confidence)) * (side - 4));
    const [left, top] = [x + (side - 1 - edge) / 2, y + (side - 1 - edge) / 2];
    context.globalAlpha = state === 'new' ? view.fade : 1;
    if (state === 'hidden') {
      context.setLineDash([2, 2]);
      context.strokeStyle = colours['ink-3'];
      context.strokeRect(left + 0.5, top + 0.5, edge - 1, edge - 1);
      context.setLineDash([]);
    } else {
      context.fillStyle = state === 'new' ? colours.accent : colours.solid;
      context.fillRect(left, top, edge, edge);
    }
    context.globalAlpha = 1;
  }
  overlay(context, colours, view, side);
}

/** @param {HTMLCanvasElement} canvas @param {View} view */
export function drawOrder(canvas, view) {
  const { record, t } = view;
  const { context, colours, side } = ground(canvas, record);
  for (let cell = 0; cell < record.cells; cell++) {
    const [x, y] = place(record, cell, side);
    const inner = side - 1;
    const step = record.keptStep[cell];
    context.fillStyle = colours.sunken;
    context.fillRect(x, y, inner, inner);
    if (step < 0) continue;
    const state = record.state(t, cell);
    const { fill, light } = stepColour(step, record.steps);
    context.globalAlpha = state === 'hidden' ? 0.28 : 1;
    context.fillStyle = fill;
    context.fillRect(x, y, inner, inner);
    context.globalAlpha = 1;
    const ink = state === 'hidden' ? colours['ink-2'] : light ? '#15181C' : '#FFFFFF';
    if (state === 'new') {
      context.setLineDash([2, 2]);
      context.strokeStyle = ink;
      context.strokeRect(x + 1.5, y + 1.5, inner - 3, inner - 3);
      context.setLineDash([]);
    }
    if (side >= DIGIT_FROM) {
      label(context, String(step + 1), x + inner / 2, y + inner / 2, ink, state === 'new' ? 700 : 450, colours.font,
        Math.min(13, Math.max(11, side * 0.42)), inner - 2);
    }
  }
  overlay(context, colours, view, side);
}

/**
 * One step's picture as it stood, small: what the filmstrip shows.
 * @param {CanvasRenderingContext2D} context @param {import('./record.js').Record} record
 */
export function drawThumbnail(context, record, t, x, y, width, pattern) {
  const frame = record.frames[t];
  const side = width / record.columns;
  context.imageSmoothingEnabled = true;
  if (frame?.image.naturalWidth) context.drawImage(frame.image, x, y, width, side * record.rows);
  context.fillStyle = pattern;
  for (let cell = 0; cell < record.cells; cell++) {
    if (record.state(t, cell) !== 'hidden') continue;
    const left = Math.round(x + (cell % record.columns) * side);
    const top = Math.round(y + Math.floor(cell / record.columns) * side);
    context.fillRect(left, top, Math.round(x + ((cell % record.columns) + 1) * side) - left,
      Math.round(y + (Math.floor(cell / record.columns) + 1) * side) - top);
  }
}

function ground(canvas, record) {
  const room = canvas.parentElement.clientWidth;
  const side = Math.max(4, Math.floor((room + 1) / record.columns));
  const context = fit(canvas, side * record.columns - 1, side * record.rows - 1);
  return { context, colours: palette(canvas), side };
}

function place(record, cell, side) {
  return [(cell % record.columns) * side, Math.floor(cell / record.columns) * side];
}

function outline(context, colour, width, x, y, side, inset) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(x + inset + 0.5, y + inset + 0.5, side - 2 * inset - 1, side - 2 * inset - 1);
}

function corner(context, colour, x, y, size) {
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + size, y);
  context.lineTo(x, y + size);
  context.fill();
}

function label(context, text, x, y, colour, weight, font, size, room) {
  context.font = `${weight} ${size}px ${font}`;
  context.fillStyle = colour;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(text, x, y + 0.5, room);
}

/** What lies over the cells of every map: what differs from another decode, and the selected cell. */
function overlay(context, colours, view, side) {
  view.apart?.forEach((kind, cell) => { if (kind !== SAME) differ(context, colours, view, side, cell, kind); });
  select(context, colours, view, side);
}

function differ(context, colours, view, side, cell, kind) {
  const [x, y] = place(view.record, cell, side);
  const small = side < BADGE_FROM; // the lines must leave the cell to be seen
  outline(context, '#FFFFFF', small ? 2 : 3.5, x, y, side, small ? 1 : 2);
  if (kind !== ANOTHER) context.setLineDash(small ? [2, 2] : [3, 3]);
  outline(context, '#15181C', small ? 1 : kind === ANOTHER ? 2 : 1.5, x, y, side, small ? 1 : 2);
  context.setLineDash([]);
  if (kind !== ANOTHER || small) return;
  const [right, top] = [x + side - 10, y + 10];
  context.fillStyle = '#FFFFFF';
  context.strokeStyle = '#15181C';
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(right, top, 7, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
  label(context, '≠', right, top, '#15181C', 700, colours.font, 11, 12);
}

function select(context, colours, view, side) {
  if (view.cell < 0) return;
  const [x, y] = place(view.record, view.cell, side);
  context.lineJoin = 'round';
  outline(context, colours.card, 6, x, y, side, 0);
  outline(context, colours.ink, 2.5, x, y, side, 0);
  context.lineJoin = 'miter';
}
