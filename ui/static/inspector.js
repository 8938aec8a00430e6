// One token: its code, when it was fixed, what else the model considered, and how sure it was step by step.
import { hex } from './words.js';

const BAR = 30; // px, the tallest bar of confidence by step

/** @param {HTMLElement} element @param {import('./maps.js').View} view @param {boolean} pinned */
export function drawInspector(element, view, pinned) {
  const { record, t, cell } = view;
  if (cell < 0) {
    element.innerHTML = '<h3>One token</h3><p class="cg-hint">Point at a cell of any map to see its code, when it was '
      + 'kept and what else the model considered. Click to pin it; arrow keys move it.</p>';
    return;
  }
  const row = Math.floor(cell / record.columns) + 1;
  const column = (cell % record.columns) + 1;
  const decision = record.decision(t, cell);
  const heading = `<h3>Token at row ${row}, column ${column}<span>${pinned ? 'pinned' : 'click: pin'}</span>`
    + '<button type="button" data-act="unpin">Close</button></h3>';
  if (!decision) {
    element.innerHTML = `${heading}<p class="cg-hint">Hidden. Nothing has been guessed yet.</p>`;
    return;
  }
  const state = record.state(t, cell);
  const since = decision.step + 1;
  const fate = {
    hidden: `Hidden, guess of step <b>${since}</b>`,
    new: `Kept in this step, <b>${since}</b>`,
    kept: `Kept since step <b>${since}</b>`,
  }[state];
  element.innerHTML = `${heading}<div class="cg-token"><canvas class="cg-swatch" data-here></canvas><p>`
    + `Code <b>${hex(decision.code, record.open.vocab)}</b> of ${record.open.vocab.toLocaleString('en')}<br>`
    + `${fate}<br>Probability <b>${decision.confidence.toFixed(2)}</b></p></div>`
    + `<h4>What else it considered</h4>${choices(record, decision)}`
    + `<h4>Probability here, by step</h4>${history(record, t, cell)}`;
  paintHere(element, view, decision.step);
  paintSwatches(element, record);
}

function choices(record, decision) {
  const rows = decision.codes.map((code, place) => ({ code, prob: decision.probs[place] }));
  if (!rows.some((row) => row.code === decision.code)) {
    rows.pop();
    rows.push({ code: decision.code, prob: decision.confidence });
  }
  return `<ol class="cg-choices">${rows.map(({ code, prob }) => {
    const chosen = code === decision.code;
    return `<li class="${chosen ? 'chosen' : ''}">${swatch(record, code)}<span>${hex(code, record.open.vocab)}</span>`
      + `<i><b style="width:${(prob * 100).toFixed(1)}%"></b></i><span>${prob > 0 && prob < 0.005 ? '&lt;.01' : prob.toFixed(2)}</span>`
      + `<em>${chosen ? 'drawn' : ''}</em></li>`;
  }).join('')}</ol>`;
}

function history(record, t, cell) {
  const parts = [];
  const wide = 220 / record.steps;
  const last = record.keptStep[cell] < 0 ? record.received - 1 : record.keptStep[cell];
  const every = Math.ceil(20 / wide);
  for (let step = 0; step < record.steps; step++) {
    const x = step * wide;
    if (step === t) parts.push(`<rect class="wash" x="${x}" y="0" width="${wide}" height="${BAR + 18}"/>`);
    if (step <= last && record.frames[step]) {
      const tall = Math.max(1.5, record.frames[step].confidence[cell] * BAR);
      const kind = step !== record.keptStep[cell] ? 'guess' : step === t ? 'bar now' : 'bar';
      const room = Math.min(14, wide * 0.6);
      parts.push(`<rect class="${kind}" x="${x + (wide - room) / 2}" y="${BAR + 1 - tall}" width="${room}" height="${tall}"/>`);
    }
    if (step === t || ((step + 1) % every === 0 && Math.abs(step - t) >= every) || every === 1) {
      parts.push(`<text class="figure${step === t ? ' now' : ''}" x="${x + wide / 2}" y="${BAR + 14}">${step + 1}</text>`);
    }
  }
  return `<svg class="cg-history" viewBox="0 0 220 ${BAR + 18}" width="220" height="${BAR + 18}" role="img" `
    + `aria-label="Probability of this token by step">${parts.join('')}<path class="rule" d="M0 ${BAR + 1.5}H220"/></svg>`;
}

/** A place for a code's look; filled from the atlas once it is here. */
function swatch(record, code) {
  return record.atlasPlace.has(code)
    ? `<canvas class="cg-swatch" data-code="${code}"></canvas>`
    : `<span class="cg-swatch"></span>`;
}

/** The cell itself, from the picture of the step that decided it. */
function paintHere(element, { record, cell }, step) {
  const { image } = record.frames[step];
  const edge = image.naturalWidth / record.columns;
  if (!edge) return;
  const canvas = element.querySelector('[data-here]');
  Object.assign(canvas, { width: edge, height: edge });
  canvas.getContext('2d').drawImage(image, (cell % record.columns) * edge, Math.floor(cell / record.columns) * edge,
    edge, edge, 0, 0, edge, edge);
}

function paintSwatches(element, record) {
  const { atlas } = record;
  if (!atlas?.naturalWidth) return;
  const [height, width] = record.closing.atlas.cell;
  const perRow = Math.floor(atlas.naturalWidth / width);
  for (const canvas of element.querySelectorAll('canvas[data-code]')) {
    const place = record.atlasPlace.get(Number(canvas.dataset.code));
    Object.assign(canvas, { width, height });
    canvas.getContext('2d').drawImage(atlas, (place % perRow) * width, Math.floor(place / perRow) * height,
      width, height, 0, 0, width, height);
  }
}
