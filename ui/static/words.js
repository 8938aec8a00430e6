// What the viewer says in words about a moment of a decode.
/** @typedef {import('./record.js').Record} Record */

/** A code as the token map writes it. @param {number} code @param {number} vocabulary */
export function hex(code, vocabulary) {
  return code.toString(16).toUpperCase().padStart((vocabulary - 1).toString(16).length, '0');
}

/** 'step 6 of 8' @param {Record} record @param {number} t */
export function moment(record, t) {
  return t < 0 ? `before step 1 of ${record.steps}` : `step ${t + 1} of ${record.steps}`;
}

/** 'step 6 of 8, 16 new, 22 kept, 26 hidden' @param {Record} record @param {number} t */
export function spoken(record, t) {
  const { hidden, new: fresh, kept } = record.counts(t);
  return `${moment(record, t)}, ${t < 0 ? 'all' : `${fresh} new, ${kept} kept,`} ${hidden} hidden`;
}

/** How far the decode has come, how long it took, how fast it is shown. @param {Record} record @param {number} pace ms */
export function progress(record, pace) {
  const { closing, received, steps } = record;
  if (!closing) return `${received} of ${steps} steps are here`;
  if (closing.stopped) return received ? `Stopped after step ${received} of ${steps}` : `Stopped before step 1 of ${steps}`;
  return `${closing.milliseconds ? `${Math.round(closing.milliseconds)} ms for ${steps} steps · ` : ''}shown at ${pace} ms a step`;
}

/** What the detector found, once the finished picture is on screen. @param {Record} record @param {number} t */
export function verdict(record, t) {
  const verifier = record.closing?.verifier;
  if (!verifier || t < record.steps - 1) return '';
  const all = verifier.clauses.length;
  const passed = verifier.clauses.filter(([, credit]) => credit === 1).length;
  if (passed === all) return `Detector: all ${all} checks pass`;
  const told = (verifier.failed ?? []).join('; ');
  return `Detector: ${passed} of ${all} checks pass.${told && ` ${told[0].toUpperCase()}${told.slice(1)}.`}`;
}

/** 'row 5, column 4, kept, code 316, probability 0.71' @param {Record} record @param {number} t @param {number} cell */
export function cellAloud(record, t, cell) {
  if (cell < 0) return 'no cell selected';
  const place = `row ${Math.floor(cell / record.columns) + 1}, column ${(cell % record.columns) + 1}`;
  const decision = record.decision(t, cell);
  const said = decision && `, code ${hex(decision.code, record.open.vocab)}, probability ${decision.confidence.toFixed(2)}`;
  return `${place}, ${record.state(t, cell)}${said ?? ''}`;
}
