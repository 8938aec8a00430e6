// Which step is on screen, and when the next one comes. Steps are shown at a reader's pace however fast they arrive.

export const PACE = 250; // ms a step
const REST = 900; // ms on the last step before a loop begins again

export class Clock {
  /**
   * @param {{available: () => number, total: () => number, show: (t: number, moving: boolean) => void}} source
   *   `available`: steps that have arrived; `total`: steps there will be; `show` draws step t and then calls `drawn`.
   */
  constructor(source) {
    this.source = source;
    this.t = -1;
    this.playing = false;
    this.looping = false;
    this.speed = 1;
    this.timer = 0;
    this.shownAt = 0;
    this.waiting = false; // for the next step to arrive
    this.drawing = false; // the step that is on now has not been drawn yet
  }

  /** Begins before the first step and plays to the end. */
  restart() {
    this.#stop();
    this.playing = true;
    this.#put(-1, false); // all hidden is a moment of its own
  }

  play() {
    if (this.t >= this.source.total() - 1) this.t = -1;
    this.playing = true;
    this.shownAt = -Infinity;
    this.#plan();
  }

  pause() {
    this.#stop();
    this.source.show(this.t, false);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** What a button or a key asks for. @param {'play' | 'back' | 'next' | 'first' | 'last'} name */
  act(name) {
    const to = { back: this.t - 1, next: this.t + 1, first: 0, last: this.source.available() - 1 };
    if (name === 'play') this.toggle();
    else this.seek(to[name]);
  }

  /** The reader has taken over: show this step and rest there. */
  seek(t) {
    this.#stop();
    const last = this.source.available() - 1;
    this.t = Math.max(Math.min(0, last), Math.min(last, t));
    this.source.show(this.t, false);
  }

  /** What `show` asked for is on screen: its time begins, so that a slow machine skips no step. */
  drawn() {
    if (!this.drawing) return;
    this.drawing = false;
    this.shownAt = performance.now();
    this.#plan();
  }

  /** A step has arrived, or the last one has: go on if we were waiting for it. */
  arrived() {
    if (this.playing && this.waiting) this.#plan();
  }

  #stop() {
    clearTimeout(this.timer);
    this.playing = this.waiting = this.drawing = false;
  }

  #plan() {
    clearTimeout(this.timer);
    this.waiting = false;
    const atEnd = this.t >= this.source.total() - 1;
    if (atEnd && !this.looping) {
      this.pause();
      return;
    }
    if (!atEnd && this.t + 1 >= this.source.available()) {
      this.waiting = true;
      return;
    }
    const due = this.shownAt + (atEnd ? REST : PACE / this.speed);
    this.timer = setTimeout(() => this.#put(atEnd ? 0 : this.t + 1, true), Math.max(0, due - performance.now()));
  }

  #put(t, moving) {
    this.t = t;
    this.drawing = true;
    this.source.show(t, moving);
  }
}
