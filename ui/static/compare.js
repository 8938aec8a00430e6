// The Compare tab: two decodes of one prompt and seed under one clock, so that step t of one stands beside step t of the
// other. It is fed the viewer's messages, each with its side, and plays on when the server is gone.
import { Clock } from './clock.js';
import { LAYOUT, SIDES } from './compare-layout.js';
import { corrections } from './corrections.js';
import { readExample } from './example.js';
import { heard } from './keys.js';
import { PAUSE, PLAY } from './layout.js';
import { drawConfidence, drawOrder, drawPicture, drawTokens } from './maps.js';
import { apart, comparable, counts, told } from './parting.js';
import { Record } from './record.js';
import { score } from './scores.js';
import { scrub } from './scrub.js';
import { axis, drawDifferences, drawFilm, drawFlag, drawTrack } from './timeline.js';
import { wipe } from './wipe.js';
import { moment, spoken } from './words.js';

const DRAW = { picture: drawPicture, tokens: drawTokens, confidence: drawConfidence, order: drawOrder };
const SAME_DRAWS = 'Same prompt, same seed, same random draws.';
const LETTERS = Object.fromEntries(SIDES);

/**
 * @param {HTMLElement} element where the comparison goes
 * @param {{value: ?string[]}} props `value`: the messages of the latest comparison, each as JSON text
 * @param {(name: string, callback: () => void) => void} watch
 */
export function connect(element, props, watch) {
  const comparison = new Comparison(element);
  let [playing, applied] = ['', 0];
  const apply = () => {
    const lines = props.value ?? [];
    if (!lines.length) return;
    if (lines[0] !== playing) {
      [playing, applied] = [lines[0], 0];
      comparison.begin();
    }
    for (const line of lines.slice(applied)) comparison.take(JSON.parse(line));
    applied = lines.length;
  };
  watch('value', apply);
  apply();
  corrections('#cmp-notice', '#cmp-prompt');
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.defaultPrevented || !element.offsetParent) return;
    (document.getElementById('cmp-cancel') ?? document.getElementById('cmp-leave'))?.click();
  });
  readExample(new URL('studio/', document.baseURI)).then((messages) => {
    if (!messages || playing) return;
    comparison.begin();
    for (const message of messages) {
      if (message.type !== 'beside') comparison.take({ ...message, side: 'left' });
      else for (const one of message.messages) comparison.take({ ...one, side: 'right' });
    }
  });
}

class Comparison {
  constructor(element) {
    this.element = element;
    element.classList.add('cg-viewer', 'cg-compare');
    element.innerHTML = LAYOUT;
    this.parts = Object.fromEntries([...element.querySelectorAll('[data-part]')].map((part) => [part.dataset.part, part]));
    this.map = 'picture';
    this.begin();
    this.clock = new Clock({
      available: () => Math.min(...this.#live().map((record) => record.received)),
      total: () => Math.min(...this.#live().map((record) => (record.closing ? record.received : record.steps))),
      show: () => this.#redraw(),
    });
    this.quiet = matchMedia('(prefers-reduced-motion: reduce)');
    this.#listen();
  }

  /** A new comparison: nothing of either side is here yet. */
  begin() {
    /** @type {Object<string, ?Record>} */
    this.records = { left: null, right: null };
    this.wrong = { left: '', right: '' };
    /** @type {Uint8Array[]} what differs after each step that both have done */
    this.apart = [];
    this.partsAt = -1;
  }

  /** One message of a side; `failed` says in `text` why that side ends here. @param {Object} message */
  take(message) {
    const { side } = message;
    const record = this.records[side];
    if (message.type === 'open') {
      this.records[side] = new Record(message, () => this.#redraw());
      this.clock.restart();
    } else if (message.type === 'failed') this.wrong[side] = message.text;
    else if (message.type === 'step') record.add(message);
    else if (message.type === 'close') record.finish(message);
    this.#compare();
    if (this.quiet.matches && this.clock.playing && this.#live().length) this.clock.t = this.clock.source.available() - 1;
    this.clock.arrived();
    this.#redraw();
  }

  /** The sides that still move: a side that failed half-way holds the other one back no longer. */
  #live() {
    const here = SIDES.filter(([side]) => this.records[side]);
    const well = here.filter(([side]) => !this.wrong[side]);
    return (well.length ? well : here).map(([side]) => this.records[side]);
  }

  #compare() {
    const { left, right } = this.records;
    if (!comparable(left, right)) return;
    for (let t = this.apart.length; t < Math.min(left.received, right.received); t++) {
      this.apart.push(apart(left, right, t));
      if (this.partsAt < 0 && counts(this.apart[t]).differ) this.partsAt = t;
    }
  }

  #listen() {
    const { element, parts, clock } = this;
    element.addEventListener('click', ({ target }) => {
      const act = target.closest('[data-act]')?.dataset.act;
      if (act) this.#act(act);
      const map = target.closest('.cg-choose [data-map]')?.dataset.map;
      if (!map) return;
      this.map = map;
      for (const button of element.querySelectorAll('.cg-choose [data-map]')) {
        button.setAttribute('aria-pressed', button.dataset.map === map);
      }
      this.#redraw();
    });
    parts.marks.addEventListener('change', () => this.#redraw());
    wipe(parts);
    this.follow = scrub([parts.time, parts.rowbox], () => this.#live()[0]?.steps ?? 0, (t) => clock.seek(t));
    document.addEventListener('keydown', (event) => {
      const act = this.#live().length ? heard(event, element, { d: 'parts', s: 'wipe' }) : null;
      if (act) this.#act(act);
      else if (act === '' && clock.playing) clock.pause(); // any key takes over
    });
    new ResizeObserver(() => this.#redraw()).observe(element);
    const repaint = () => this.#redraw();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
    new MutationObserver(repaint).observe(document.body, { attributes: true, attributeFilter: ['class'] });
  }

  #act(act) {
    const { clock, parts } = this;
    if (!this.#live().length) return;
    if (act === 'parts') { if (this.partsAt >= 0) clock.seek(this.partsAt); }
    else if (act === 'wipe') parts.wiper.focus();
    else if (act === 'loop') {
      clock.looping = !clock.looping;
      this.element.querySelector('[data-act=loop]').setAttribute('aria-pressed', clock.looping);
    } else clock.act(act);
    this.#redraw();
  }

  /** Draws once in the next frame, however much has changed until then. */
  #redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (this.element.offsetParent) this.#draw();
    });
  }

  #draw() {
    const { clock, parts } = this;
    const [first] = this.#live();
    for (const [side] of SIDES) this.#side(side);
    if (!first) return;
    const { t } = clock;
    const grid = axis(parts.time.clientWidth, first.steps);
    this.element.classList.toggle('cg-narrow', grid.narrow);
    for (const [side] of SIDES) {
      const record = this.records[side];
      parts[`${side}-film`].parentElement.hidden = !record;
      if (record) drawFilm(parts[`${side}-film`], { record, t }, grid);
    }
    drawFlag(parts.flag, this.partsAt, 'they part', grid);
    drawTrack(parts.track, { record: first, t }, grid);
    parts.rowbox.hidden = this.#single();
    drawDifferences(parts.rows, parts.names, this.apart.map((cells) => counts(cells).differ), t, grid);
    this.follow(grid, t);
    this.#words(first, t);
    clock.drawn();
  }

  #side(side) {
    const { parts } = this;
    const [record, wrong] = [this.records[side], this.wrong[side]];
    const canvas = parts[`${side}-map`];
    canvas.hidden = !record;
    parts[`${side}-wrong`].hidden = !wrong;
    this.#set(`${side}-wrong`, wrong && `! ${LETTERS[side]} was not painted${record ? ' to its end' : ''}. ${wrong} `
      + 'The other side is not touched by this: change the settings above and compare again.');
    this.#set(`${side}-name`, record ? name(record.open.recipe) : '');
    this.#set(`${side}-count`, '');
    if (!record) return;
    const t = Math.min(this.clock.t, record.received - 1);
    const { hidden } = record.counts(t);
    this.#set(`${side}-count`, `${record.cells - hidden} of ${record.cells} decided`);
    const view = { record, t, cell: -1, whole: false, fade: 1 };
    if (parts.marks.checked && !wrong) view.apart = this.apart[t];
    DRAW[this.map](canvas, view);
    canvas.setAttribute('aria-label', `${this.map} of ${LETTERS[side]}, ${spoken(record, t)}`);
  }

  #words(first, t) {
    const { parts, clock } = this;
    const { left, right } = this.records;
    const at = moment(first, t);
    const { recipe, tag = '' } = first.open;
    this.#set('prompt', recipe.prompt);
    this.#set('seed', `, seed ${recipe.seed}`);
    this.#set('tag', tag);
    parts.tag.hidden = !tag;
    this.#set('counter', at[0].toUpperCase() + at.slice(1));
    this.#set('at', `After ${at}`.replace('After before', 'Before'));
    this.#set('parting', this.#parting(first));
    parts.parts.disabled = this.partsAt < 0;
    parts.figures.innerHTML = this.#figures(t).map(([text, count]) => `<div><dt>${text}</dt><dd>${count}</dd></div>`).join('');
    parts.slider.setAttribute('aria-valuemax', first.steps);
    parts.slider.setAttribute('aria-valuenow', Math.max(1, t + 1));
    const differ = this.apart[t] ? `; ${told(this.apart[t])}` : '';
    parts.slider.setAttribute('aria-valuetext', `${moment(first, t)}${differ}`);
    for (const [side, letter] of SIDES) {
      score(parts[`${side}-score`], letter, this.records[side]?.closing, Boolean(this.wrong[side]));
    }
    this.#finals(left, right);
    const play = this.element.querySelector('[data-act=play]');
    const face = clock.playing ? 'Pause' : 'Play';
    if (play.lastChild.textContent !== face) play.innerHTML = `${clock.playing ? PAUSE : PLAY}<span>${face}</span>`;
    const closed = this.#live().every((record) => record.closing);
    // Last, so that whoever waits for one of these finds everything drawn.
    Object.assign(this.element.dataset, { step: t + 1, steps: first.steps, playing: clock.playing,
      state: closed ? 'done' : 'running', parts: this.partsAt + 1, prompt: recipe.prompt });
  }

  /** Whether there is no other side, and none will come. */
  #single() { return Boolean(this.wrong.left || this.wrong.right); }

  /** Where the two part, in one or two sentences. */
  #parting(first) {
    const { left, right } = this.records;
    if (this.#single()) return 'Only one side was painted: there is nothing to compare it with.';
    if (!left || !right) return SAME_DRAWS;
    if (!comparable(left, right)) return 'The two models have tokens of their own, so tokens cannot be compared; the pictures can.';
    const [a, b] = [left.open.recipe, right.open.recipe];
    const model = a.checkpoint_sha256 !== b.checkpoint_sha256;
    const schedule = JSON.stringify(a.schedule_table) !== JSON.stringify(b.schedule_table);
    const cause = [model && 'model', schedule && 'schedule'].filter(Boolean).join(' and ');
    const why = `${SAME_DRAWS} ${cause ? `A and B differ in ${cause}` : 'A and B have the same settings'}.`;
    if (this.partsAt >= 0) return `${why} They part at step ${this.partsAt + 1}: ${told(this.apart[this.partsAt])}.`;
    const done = this.apart.length;
    if (left.closing && right.closing) return `${why} They never part: every token is the same after every step.`;
    return done ? `${why} The same up to step ${done} of ${first.steps}.` : why;
  }

  #figures(t) {
    const { left, right } = this.records;
    const cells = this.apart[t];
    if (!cells) return [['Tokens compared', this.#single() ? 'none: one side is missing' : 'none yet']];
    const { onlyA, onlyB, another, differ } = counts(cells);
    const both = (record) => record.cells - record.counts(t).hidden;
    return [['Decided in A', both(left)], ['Decided in B', both(right)], ['The same in both', both(left) - onlyA - another],
      ['In A only', onlyA], ['In B only', onlyB], ['≠ Another token', another], ['Tokens that differ', differ]];
  }

  #finals(left, right) {
    const { parts } = this;
    const whole = (record) => record?.closing && !record.closing.stopped && record.received === record.steps;
    const both = Boolean(whole(left) && whole(right));
    [parts.wipe.hidden, parts.wait.hidden] = [!both, both];
    this.#set('wait', this.#single() ? 'This needs both pictures.' : 'Both are shown here when they are finished.');
    for (const [side] of SIDES) {
      const source = both ? this.records[side].frames.at(-1).picture : '';
      if (both && parts[`${side}-final`].src !== source) parts[`${side}-final`].src = source;
    }
  }

  #set(part, text) {
    if (this.parts[part].textContent !== String(text)) this.parts[part].textContent = text;
  }
}

/** 'champion, learned schedule' @param {Object} recipe */
const name = (recipe) => `${recipe.checkpoint}, ${/^learned/.test(recipe.schedule) ? 'learned' : recipe.schedule} schedule`;
