// The Vote tab: two pictures, four answers, and only then how they were made. The pair that waits for its vote is kept
// by the server under this browser's pseudonym, so a reload brings it back.
import { ask } from './voter.js';

const OUTCOMES = [['left', 'A is better', ''], ['tie', 'Tie', 'equally good'], ['right', 'B is better', ''],
  ['bad', 'Both bad', 'neither shows it']];
const SAVED = { left: 'A is better', tie: 'Tie', right: 'B is better', bad: 'Both bad' };
const SIDES = [['left', 'A'], ['right', 'B']];
const TYPING = 'input:not([type=checkbox]), textarea, select, [contenteditable=true]';

const LAYOUT = `<section class="cg-vote" aria-label="Vote" data-state="begin">
  <div class="cg-terms">
    <label><input type="checkbox" data-part="consent"> <span data-part="terms"></span></label>
    <details><summary>What we keep</summary><p>Both pictures with their recipes, your answer, how long you looked, and a
      random number that this browser keeps. No name and no address. Without your consent a vote trains the model here and
      is in no release. Take the tick away, and no later release holds any of your votes.</p></details>
  </div>
  <div class="cg-card">
    <p class="cg-ask">Someone asked for</p>
    <h2 data-part="prompt">&nbsp;</h2>
    <p class="cg-question">Which picture shows that better? They are small on purpose: 128 × 128 pixels, enlarged.</p>
    <div class="cg-two">${SIDES.map(([side, letter]) => `
      <figure data-side="${side}"><figcaption><b>${letter}</b><span data-part="${side}-chosen"></span></figcaption>
        <img alt="Picture ${letter}" draggable="false"><dl data-part="${side}"></dl></figure>`).join('')}
    </div>
    <div class="cg-answers" role="group" aria-label="Your answer">${OUTCOMES.map(([outcome, text, note], place) => `
      <button type="button" data-outcome="${outcome}" aria-keyshortcuts="${place + 1}" disabled><kbd>${place + 1}</kbd>
        <span>${text}${note ? `<small>${note}</small>` : ''}</span></button>`).join('')}
    </div>
    <div class="cg-after"><p role="status" data-part="line"></p>
      <button type="button" class="primary" data-act="next" hidden>Next pair <kbd>Space</kbd></button></div>
  </div>
  <p class="cg-hidden">How each was made stays hidden until you vote.</p>
</section>`;

/**
 * @param {HTMLElement} element where the tab's content goes
 * @param {{next: Function, choose: Function, agree: Function}} server
 */
export function connect(element, server) {
  element.innerHTML = LAYOUT;
  new Vote(element.querySelector('.cg-vote'), server);
}

class Vote {
  constructor(element, server) {
    [this.element, this.server] = [element, server];
    this.parts = Object.fromEntries([...element.querySelectorAll('[data-part]')].map((part) => [part.dataset.part, part]));
    this.images = SIDES.map(([side]) => element.querySelector(`[data-side=${side}] img`));
    this.answers = [...element.querySelectorAll('[data-outcome]')];
    this.more = element.querySelector('[data-act=next]');
    this.pair = null;
    this.shownAt = 0; // when both pictures were in sight
    element.addEventListener('click', ({ target }) => {
      const outcome = target.closest('[data-outcome]')?.dataset.outcome;
      if (outcome) this.#choose(outcome);
      if (target.closest('[data-act=next]')) this.#next();
    });
    this.parts.consent.addEventListener('change', () => this.#agree());
    document.addEventListener('keydown', (event) => this.#key(event));
    // Gradio may build a tab before anybody looks at it; a pair is made for those who do.
    const begin = new IntersectionObserver(([{ isIntersecting }]) => {
      if (!isIntersecting) return;
      begin.disconnect();
      this.#next();
    });
    begin.observe(element);
  }

  async #next() {
    this.#state('loading', 'Two pictures are being painted.');
    const told = await ask(this.server.next, {});
    if (told.error) return this.#fail(told.error);
    this.pair = told;
    this.#terms(told.terms);
    this.parts.prompt.textContent = told.prompt;
    for (const [place, [side]] of SIDES.entries()) {
      this.parts[side].replaceChildren();
      this.parts[`${side}-chosen`].textContent = '';
      this.images[place].src = new URL(told[side], document.baseURI).href;
    }
    try {
      await Promise.all(this.images.map((image) => image.decode()));
    } catch {
      return this.#fail('A picture did not arrive. Try again.');
    }
    this.shownAt = performance.now();
    return this.#state('open', '');
  }

  async #choose(outcome) {
    if (this.element.dataset.state !== 'open') return;
    const { presentation } = this.pair;
    this.#state('saving', 'Saving your vote.');
    const dwell_ms = Math.round(performance.now() - this.shownAt);
    const told = await ask(this.server.choose, { presentation, outcome, dwell_ms });
    if (told.error) return this.#fail(told.error);
    const differ = differing(told.left, told.right);
    for (const [side] of SIDES) {
      this.parts[side].replaceChildren(...recipe(told[side], differ));
      this.parts[`${side}-chosen`].textContent = side === outcome ? '✓ your choice' : '';
    }
    this.#state('voted', `✓ Vote saved: ${SAVED[outcome]}.`);
    return this.more.focus();
  }

  async #agree() {
    const given = this.parts.consent.checked;
    const told = await ask(this.server.agree, { given, version: this.pair?.terms.version });
    if (told.error) {
      this.parts.consent.checked = !given;
      this.parts.line.textContent = `! ${told.error}`;
    } else this.#terms(told);
  }

  #terms({ version, licence, given }) {
    this.parts.consent.checked = given;
    this.parts.consent.disabled = false;
    this.parts.terms.textContent = `Publish my votes, without my name, under ${licence} (terms, version ${version})`;
  }

  #fail(sentence) { this.#state('failed', `! ${sentence}`); }

  #state(state, text) {
    this.element.dataset.state = state;
    this.parts.line.textContent = text;
    for (const answer of this.answers) answer.disabled = state !== 'open';
    this.more.hidden = !['voted', 'failed'].includes(state);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !this.element.offsetParent) return;
    if (event.target.closest?.(TYPING)) return;
    const answer = this.answers[Number(event.key) - 1];
    if (answer) this.#choose(answer.dataset.outcome);
    else if (event.key === ' ' && !this.more.hidden && !event.target.closest?.('button, summary, input')) this.#next();
    else return;
    event.preventDefault();
  }
}

const SHOWN = [['checkpoint_name', 'Model'], ['schedule', 'Schedule'], ['seed', 'Seed'], ['steps', 'Steps']];

/** Which of the shown lines are not the same on both sides. */
function differing(left, right) {
  const names = SHOWN.map(([name]) => name).filter((name) => left[name] !== right[name]);
  return new Set(left.checkpoint_sha256 === right.checkpoint_sha256 ? names : [...names, 'checkpoint_name']);
}

function* recipe(told, differ) {
  for (const [name, title] of SHOWN) {
    const row = document.createElement('div');
    row.classList.toggle('cg-differs', differ.has(name));
    row.append(Object.assign(document.createElement('dt'), { textContent: title }),
      Object.assign(document.createElement('dd'), { textContent: told[name] }));
    yield row;
  }
}
