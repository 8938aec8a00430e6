// Which tokens of two decodes differ after a step. ui/parting.py says the same of two finished traces.
/** @typedef {import('./record.js').Record} Record */

export const [SAME, ONLY_A, ONLY_B, ANOTHER] = [0, 1, 2, 3];

/** What is said of each cell after step t. @param {Record} a @param {Record} b @param {number} t @returns {Uint8Array} */
export function apart(a, b, t) {
  return Uint8Array.from({ length: a.cells }, (_, cell) => {
    const [inA, inB] = [a.state(t, cell) !== 'hidden', b.state(t, cell) !== 'hidden'];
    if (inA !== inB) return inA ? ONLY_A : ONLY_B;
    return inA && a.decision(t, cell).code !== b.decision(t, cell).code ? ANOTHER : SAME;
  });
}

/** @param {Uint8Array} cells of `apart` */
export function counts(cells) {
  const of = (kind) => cells.reduce((sum, one) => sum + (one === kind), 0);
  const [onlyA, onlyB, another] = [of(ONLY_A), of(ONLY_B), of(ANOTHER)];
  return { onlyA, onlyB, another, differ: onlyA + onlyB + another };
}

/** Whether a token of one means the same in the other, step by step. @param {?Record} a @param {?Record} b */
export function comparable(a, b) {
  return Boolean(a && b) && a.steps === b.steps && a.open.recipe.model === b.open.recipe.model;
}

/** '5 tokens differ: 3 in A only, 2 hold another token' @param {Uint8Array} cells */
export function told(cells) {
  const { differ, onlyA, onlyB, another } = counts(cells);
  const parts = [[onlyA, 'decided in A only'], [onlyB, 'decided in B only'], [another, 'decided in both, another token']];
  const why = parts.filter(([count]) => count).map(([count, text]) => `${count} ${text}`).join('; ');
  return `${differ} ${differ === 1 ? 'token differs' : 'tokens differ'}${why && ` (${why})`}`;
}
