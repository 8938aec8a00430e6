// The trace viewer: one decode, in space (Where) and in time (When). It is fed messages and never asks for anything,
// so it plays on when the server is gone. See record.js for the messages.
import { Clock, PACE } from './clock.js';
import { drawInspector } from './inspector.js';
import { heard } from './keys.js';
import { LAYOUT, MAP_NAMES, PAUSE, PLAY } from './layout.js';
import { drawConfidence, drawOrder, drawPicture, drawTokens } from './maps.js';
import { Record } from './record.js';
import { scrub } from './scrub.js';
import { drawTable } from './table.js';
import { axis, drawFilm, drawRows, drawTrack } from './timeline.js';
import { cellAloud, moment, progress, spoken, verdict } from './words.js';

const DRAW = { picture: drawPicture, tokens: drawTokens, confidence: drawConfidence, order: drawOrder };
const FADE = 120; // ms

/**
 * Builds a viewer inside `element`.
 * @param {HTMLElement} element
 * @returns {Viewer}
 */
export function mount(element) { return new Viewer(element); }

class Viewer {
  constructor(element) {
    this.element = element;
    element.classList.add('cg-viewer');
    element.dataset.map = 'picture'; // the tab that is open on a phone
    element.innerHTML = LAYOUT;
    this.parts = Object.fromEntries([...element.querySelectorAll('[data-part]')].map((part) => [part.dataset.part, part]));
    this.canvases = Object.fromEntries(MAP_NAMES.map((name) => [name, element.querySelector(`figure[data-map=${name}] canvas`)]));
    this.record = null;
    this.rival = null; // the same prompt, seed and weights under another schedule
    this.pinned = -1;
    this.chosen = false; // whether the reader has pinned or released a cell
    this.pointed = -1;
    this.fade = 1;
    this.clock = new Clock({
      available: () => this.record.received,
      total: () => (this.record.closing ? this.record.received : this.record.steps),
      show: (t, moving) => this.#show(moving),
    });
    this.quiet = matchMedia('(prefers-reduced-motion: reduce)');
    this.#listen();
  }

  /** A decode begins. @param {import('./record.js').Open} message */
  open(message) {
    const tag = message.tag ?? '';
    this.record = new Record(message, () => this.#redraw());
    this.rival = null;
    this.#against(false);
    if (this.pinned >= this.record.cells) this.pinned = -1;
    this.pointed = -1;
    this.#set('tag', tag);
    this.parts.tag.hidden = !tag;
    this.#set('prompt', message.recipe.prompt);
    this.parts.prompt.title = message.recipe.prompt;
    this.#set('seed', `, seed ${message.recipe.seed}`);
    this.#set('sum', this.record.cells);
    this.#set('last', this.record.steps);
    this.parts.actions.replaceChildren();
    this.parts.below.replaceChildren();
    this.parts.slider.setAttribute('aria-valuemax', this.record.steps);
    this.state = 'running';
    Object.assign(this.element.dataset, { id: message.id, steps: this.record.steps, state: this.state });
    this.clock.restart();
  }

  /** One step has been decoded. @param {import('./record.js').Step} message */
  step(message) {
    if (this.record?.open.id !== message.id) return;
    this.record.add(message);
    if (this.quiet.matches && this.clock.playing) this.clock.t = this.record.received - 1;
    this.clock.arrived();
    this.#redraw();
  }

  /** The decode is over. @param {import('./record.js').Close} message */
  close(message) {
    if (this.record?.open.id !== message.id) return;
    this.record.finish(message);
    this.state = message.stopped ? 'stopped' : 'done';
    if (this.quiet.matches && this.clock.playing) this.clock.seek(this.record.received - 1);
    this.clock.arrived();
    if (!this.chosen && this.element.clientWidth >= 700) this.pinned = this.record.typical();
    this.#redraw();
  }

  /** Another decode of the same steps, to be seen beside this one. @param {import('./record.js').Beside} message */
  beside(message) {
    if (this.record?.open.id !== message.id) return;
    const [open, ...rest] = message.messages;
    this.rival = new Record(open, () => this.#redraw());
    for (const one of rest) if (one.type === 'step') this.rival.add(one); else this.rival.finish(one);
    this.#redraw();
  }

  /** A whole trace at once, as messages; plays it once. @param {Object[]} messages */
  load(messages) { for (const message of messages) this[message.type](message); }

  /** Forgets what a reader has chosen: cell, map, speed, loop. */
  reset() {
    [this.pinned, this.chosen, this.clock.speed, this.clock.looping] = [-1, false, 1, false];
    this.parts.speed.value = '1';
    this.parts.whole.checked = false;
    this.element.querySelector('[data-act=loop]').setAttribute('aria-pressed', 'false');
    this.#tab('picture');
  }

  /** Puts links or buttons beside the transport, for example what can be saved. @param {...Node} nodes */
  actions(...nodes) { this.parts.actions.replaceChildren(...nodes); }

  /** Puts something under the picture, for example a form about it. @param {...Node} nodes */
  below(...nodes) { this.parts.below.replaceChildren(...nodes); }

  /** Stops where the reader is. */
  halt() { if (this.clock.playing) this.clock.pause(); }

  #listen() {
    const { element, parts, clock } = this;
    element.addEventListener('click', (event) => {
      const act = event.target.closest('[data-act]')?.dataset.act;
      if (act) this.#act(act);
      const tab = event.target.closest('[data-tab]')?.dataset.tab;
      if (tab) this.#tab(tab);
    });
    element.addEventListener('pointerdown', ({ target }) => { if (!target.closest('button, a, select, summary')) this.halt(); });
    parts.whole.addEventListener('change', () => this.#redraw());
    parts.speed.addEventListener('change', () => { clock.speed = Number(parts.speed.value); });
    for (const canvas of Object.values(this.canvases)) this.#listenToMap(canvas);
    this.follow = scrub([parts.time, parts.rowbox], () => this.record?.steps ?? 0, (t) => clock.seek(t));
    document.addEventListener('keydown', (event) => this.#key(event));
    new ResizeObserver(() => this.#redraw()).observe(element);
    const repaint = () => this.#redraw();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
    for (const target of [document.documentElement, document.body]) {
      new MutationObserver(repaint).observe(target, { attributes: true, attributeFilter: ['class', 'data-theme'] });
    }
  }

  #listenToMap(canvas) {
    const at = (event) => {
      if (!this.record) return -1;
      const box = canvas.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * this.record.columns);
      const row = Math.floor(((event.clientY - box.top) / box.height) * this.record.rows);
      return Math.max(0, Math.min(this.record.cells - 1, row * this.record.columns + column));
    };
    const point = (cell) => {
      if (cell === this.pointed) return;
      this.pointed = cell;
      this.#redraw();
    };
    canvas.addEventListener('pointermove', (event) => { if (event.pointerType === 'mouse') point(at(event)); });
    canvas.addEventListener('pointerleave', () => point(-1));
    canvas.addEventListener('click', (event) => {
      const cell = at(event);
      this.pinned = cell === this.pinned ? -1 : cell;
      this.chosen = true;
      this.halt();
      this.#redraw();
    });
    canvas.addEventListener('keydown', (event) => {
      if (!this.record || event.ctrlKey || event.metaKey || event.altKey) return;
      const { columns, cells } = this.record;
      const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      if (move) {
        const from = this.pinned < 0 ? 0 : this.pinned;
        const sideways = Math.abs(move) === 1 && Math.floor((from + move) / columns) !== Math.floor(from / columns);
        if (this.pinned < 0) this.pinned = 0;
        else if (!sideways && from + move >= 0 && from + move < cells) this.pinned = from + move;
      } else if (event.key === 'Enter') {
        this.pinned = this.pinned < 0 ? 0 : -1;
      } else return;
      event.preventDefault();
      event.stopPropagation();
      this.chosen = true;
      this.halt();
      this.#redraw();
      this.#set('aloud', cellAloud(this.shown, this.clock.t, this.pinned));
    });
  }

  /** Whether the rival is shown in place of the decode, step for step. */
  #against(yes) {
    this.swapped = yes && this.rival !== null;
    this.parts.against.setAttribute('aria-pressed', this.swapped);
  }

  /** What is on screen. */
  get shown() { return this.swapped ? this.rival : this.record; }

  #key(event) {
    const act = this.record ? heard(event, this.element, { c: 'against' }) : null;
    if (act) this.#act(act);
    else if (act === '') this.halt(); // any key takes over
  }

  #act(act) {
    if (!this.record) return;
    const { clock } = this;
    if (act === 'unpin') this.pinned = -1;
    else if (act === 'against') this.#against(!this.swapped);
    else if (act === 'loop') {
      clock.looping = !clock.looping;
      this.element.querySelector('[data-act=loop]').setAttribute('aria-pressed', clock.looping);
    } else clock.act(act);
    this.#redraw();
  }

  #tab(name) {
    this.element.dataset.map = name;
    for (const tab of this.element.querySelectorAll('[data-tab]')) {
      tab.setAttribute('aria-selected', tab.dataset.tab === name);
    }
    this.#redraw();
  }

  #show(moving) {
    this.fade = 1;
    if (moving && !this.quiet.matches) {
      const [began, of] = [performance.now(), this.clock.t];
      this.fade = 0;
      const come = () => {
        if (this.clock.t !== of || this.fade === 1) return;
        this.fade = Math.min(1, (performance.now() - began) / FADE);
        this.#maps();
        requestAnimationFrame(come);
      };
      requestAnimationFrame(come);
    }
    this.#redraw();
  }

  #maps() {
    const view = this.#view();
    for (const [name, canvas] of Object.entries(this.canvases)) if (canvas.offsetParent) DRAW[name](canvas, view);
  }

  #view() {
    const cell = this.pointed >= 0 ? this.pointed : this.pinned;
    return { record: this.shown, t: this.clock.t, cell, whole: this.parts.whole.checked, fade: this.fade };
  }

  /** Draws once in the next frame, however much has changed until then. */
  #redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  #draw() {
    if (!this.record || !this.element.offsetParent) return;
    const { record, rival, clock, parts } = this;
    this.#maps();
    const view = this.#view();
    this.element.classList.toggle('cg-pinned', view.cell >= 0);
    drawInspector(parts.inspector, view, this.pinned === view.cell);
    const grid = axis(parts.time.clientWidth, record.steps);
    this.element.classList.toggle('cg-narrow', grid.narrow);
    drawFilm(parts.film, { record, t: clock.t }, grid);
    parts.rival.hidden = parts.against.hidden = !rival;
    if (rival) drawFilm(parts.rivalfilm, { record: rival, t: clock.t }, grid);
    drawTrack(parts.track, view, grid);
    drawRows(parts.rows, parts.names, view, grid);
    this.follow(grid, view.t);
    drawTable(parts.table, view.record, clock.t);
    this.#words();
    clock.drawn();
  }

  #words() {
    const { shown: record, clock, parts } = this;
    const { t } = clock;
    this.#set('own', record.learned ? 'learned' : `this schedule: ${record.open.recipe.schedule ?? 'own'}`);
    parts.ownline.className = record.learned ? 'learned' : 'own';
    for (const [state, count] of Object.entries(record.counts(t))) this.#set(state, count);
    const at = moment(record, t);
    this.#set('where', `Where: ${at}`);
    this.#set('counter', at[0].toUpperCase() + at.slice(1));
    this.#set('foot', progress(record, PACE / clock.speed));
    this.#set('verdict', verdict(record, t));
    parts.slider.setAttribute('aria-valuenow', Math.max(1, t + 1));
    parts.slider.setAttribute('aria-valuetext', spoken(record, t));
    const play = this.element.querySelector('[data-act=play]');
    const face = clock.playing ? 'Pause' : 'Play';
    if (play.lastChild.textContent !== face) play.innerHTML = `${clock.playing ? PAUSE : PLAY}<span>${face}</span>`;
    // Last, so that whoever waits for one of these finds everything drawn.
    Object.assign(this.element.dataset, { step: t + 1, playing: clock.playing, state: this.state });
  }

  #set(part, text) {
    if (this.parts[part].textContent !== String(text)) this.parts[part].textContent = text;
  }
}
