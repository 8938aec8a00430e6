// One decode as the viewer knows it: the messages that came, and what follows from them.
// A step's index counts from 0; -1 is the moment before the first step, when everything is hidden.

/**
 * @typedef {{type: 'open', id: string, recipe: Object, grid: [number, number], vocab: number, steps: number,
 *   schedule: number[][], baselines: Object<string, number[][]>, tag?: string}} Open
 * @typedef {{type: 'step', id: string, index: number, sampled: number[], kept: number[], hidden: number[],
 *   confidence: number[], entropy: number, decoded: number, schedule: number[],
 *   top: {positions: number[], codes: number[][], probs: number[][]}, picture: string}} Step
 * @typedef {{type: 'close', id: string, milliseconds: ?number, atlas: ?Object, image: string, trace: string,
 *   verifier: ?Object, unknown: Object[], stopped?: boolean}} Close
 * @typedef {{type: 'beside', id: string, messages: (Open | Step | Close)[]}} Beside
 * @typedef {{step: number, code: number, confidence: number, codes: number[], probs: number[]}} Decision
 */

export class Record {
  /** @param {Open} open @param {() => void} onpicture called when a picture has become drawable */
  constructor(open, onpicture) {
    this.open = open;
    [this.rows, this.columns] = open.grid;
    this.cells = this.rows * this.columns;
    this.steps = open.steps;
    /** @type {(Step & {image: HTMLImageElement, tops: Map<number, number>})[]} */
    this.frames = [];
    this.keptStep = new Int16Array(this.cells).fill(-1);
    /** @type {?Close} */
    this.closing = null;
    this.atlas = null;
    this.atlasPlace = new Map();
    this.onpicture = onpicture;
  }

  get received() { return this.frames.length; }

  get learned() { return /^learned/.test(this.open.recipe.schedule ?? ''); }

  /** @param {Step} step */
  add(step) {
    if (step.index !== this.received) return;
    step.kept.forEach((yes, cell) => { if (yes) this.keptStep[cell] = step.index; });
    this.frames.push({
      ...step,
      image: this.#picture(step.picture),
      tops: new Map(step.top.positions.map((cell, place) => [cell, place])),
    });
  }

  /** @param {Close} close */
  finish(close) {
    this.closing = close;
    if (!close.atlas) return;
    this.atlasPlace = new Map(close.atlas.codes.map((code, place) => [code, place]));
    this.atlas = this.#picture(close.atlas.picture);
  }

  #picture(source) {
    const image = new Image();
    image.onload = () => this.onpicture();
    image.src = source;
    return image;
  }

  /** @returns {'hidden' | 'new' | 'kept'} */
  state(t, cell) {
    const since = this.keptStep[cell];
    if (since < 0 || since > t) return 'hidden';
    return since === t ? 'new' : 'kept';
  }

  /** Cells hidden, new and kept after step t; together always all of them. */
  counts(t) {
    const counts = { hidden: 0, new: 0, kept: 0 };
    for (let cell = 0; cell < this.cells; cell++) counts[this.state(t, cell)]++;
    return counts;
  }

  /** What was last decided about a cell at step t: in that step, or in the one that kept it. @returns {?Decision} */
  decision(t, cell) {
    const since = this.keptStep[cell];
    const step = since >= 0 && since < t ? since : t;
    const frame = this.frames[step];
    if (!frame) return null;
    const place = frame.tops.get(cell);
    return {
      step,
      code: frame.sampled[cell],
      confidence: frame.confidence[cell],
      codes: place === undefined ? [] : frame.top.codes[place],
      probs: place === undefined ? [] : frame.top.probs[place],
    };
  }

  /** A cell to look at first: kept with middling confidence, neither a lucky draw nor a certainty. */
  typical() {
    const last = this.frames.at(-1)?.confidence;
    if (!last) return -1;
    const sorted = last.map((sure, cell) => [sure, cell]).sort(([a], [b]) => a - b);
    return sorted[Math.floor(sorted.length / 2)][1];
  }

  /** The schedule's row at step t: as used if the step is here, else as announced, else null. */
  row(t) { return this.frames[t]?.schedule ?? this.open.schedule[t] ?? null; }
}
