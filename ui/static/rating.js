// The form under a picture: three axes from 1 to 7 and a note. Whatever is changed is saved at once, as a whole.
import { ask } from './voter.js';

const AXES = [['alignment', 'Shows what was asked'], ['fidelity', 'Looks right'], ['overall', 'Overall']];
const REST = 300; // ms without a change, so that arrow keys that pass over numbers save the last one
const HINT = '1 poor, 7 excellent';

let forms = 0;

/**
 * @param {number} generation the number of the picture in the store
 * @param {(told: Object) => Promise<{saved: ?boolean, error: ?string}>} rate
 * @returns {HTMLFormElement}
 */
export function ratingForm(generation, rate) {
  const form = document.createElement('form');
  form.className = 'cg-rating';
  form.setAttribute('aria-label', 'Rate this picture');
  const name = `rating${forms += 1}`;
  form.innerHTML = `${AXES.map(([axis, title]) => `<fieldset data-axis="${axis}"><legend>${title}</legend><div>${
    [1, 2, 3, 4, 5, 6, 7].map((value) => `<label><input type="radio" name="${name}-${axis}" value="${value}"><span>${
      value}</span></label>`).join('')}</div></fieldset>`).join('')}
    <label class="cg-note"><span>Note</span><input type="text" maxlength="2000" placeholder="optional"></label>
    <p role="status">${HINT}</p>`;
  const line = form.querySelector('[role=status]');
  const note = form.querySelector('.cg-note input');
  const say = (text, state) => {
    line.textContent = text;
    form.dataset.state = state;
  };

  let timer = 0;
  let turn = 0;
  const save = async () => {
    clearTimeout(timer);
    const told = { generation, note: note.value.trim() };
    for (const [axis] of AXES) {
      const chosen = form.querySelector(`[data-axis=${axis}] :checked`);
      told[axis] = chosen ? Number(chosen.value) : null;
    }
    if (!told.note && AXES.every(([axis]) => told[axis] === null)) return say(HINT, '');
    const mine = turn += 1;
    const { error } = await ask(rate, told);
    if (mine === turn) say(error ? `! Not saved. ${error}` : '✓ Saved', error ? 'failed' : 'saved');
    return undefined;
  };
  form.addEventListener('change', () => {
    say('Saving', 'saving');
    clearTimeout(timer);
    timer = setTimeout(save, REST);
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    save();
  });
  return form;
}
