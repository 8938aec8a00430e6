// What the verifier says of a finished picture, in words.

/**
 * @param {HTMLElement} element where it is said @param {string} letter of the side
 * @param {?import('./record.js').Close} closing @param {boolean} failed whether there will be no picture of this side
 */
export function score(element, letter, closing, failed) {
  const verifier = failed ? null : closing?.verifier;
  const [mark, said] = failed ? ['', 'Not painted: nothing to check.'] : verdict(closing);
  const name = Object.assign(document.createElement('b'), { textContent: letter });
  const words = Object.assign(document.createElement('p'), { textContent: said });
  const figure = Object.assign(document.createElement('span'), { textContent: verifier ? verifier.soft.toFixed(2) : '' });
  if (verifier) figure.append(Object.assign(document.createElement('small'), { textContent: ' soft score' }));
  element.dataset.found = mark;
  element.replaceChildren(name, words, figure);
}

function verdict(closing) {
  if (!closing) return ['', 'Not finished yet.'];
  if (closing.stopped) return ['', 'Stopped before it was finished: nothing to check.'];
  if (!closing.verifier) return ['', 'Not checked: the detector does not know the world of this model.'];
  const { strict, failed } = closing.verifier;
  if (strict) return ['yes', '✓ Found: everything that was asked for.'];
  return ['no', `✗ Not what was asked for: ${failed?.length ? failed.join('; ') : 'something is missing'}.`];
}
