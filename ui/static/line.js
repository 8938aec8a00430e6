// One calm line about what stands between this page and the server: a waiting line, or no connection.

const ORDINALS = ['First', 'Second', 'Third', 'Fourth', 'Fifth', 'Sixth', 'Seventh', 'Eighth', 'Ninth', 'Tenth'];
const SHORTEST = 300; // ms; a wait below it is not worth a word
const PAUSE = 5000; // ms between two questions whether the server is there
const LOST = '! Connection lost. What is on screen still works: play, scrub, look into cells. '
  + 'Generate and Compare work again when the server is back.';

const tellers = new Set(); // one a line of the page
let lost = false;

/** Ask whether the server is there, once for all lines. */
async function ask() {
  if (document.hidden) return;
  lost = !(await fetch(new URL('healthz', document.baseURI), { cache: 'no-store', signal: AbortSignal.timeout(PAUSE) })
    .then((answer) => answer.ok, () => false));
  document.body.classList.toggle('cg-lost', lost);
  for (const tell of tellers) tell();
}

/** 'Third in line. About 2 s.' from Gradio's 'queue: 3/5 | 1.0/3.0s', or nothing. @param {string} status */
export function waiting(status) {
  const [, place, , spent, total] = status.match(/queue: (\d+)\/(\d*) \|(?:\s*([\d.]+)\/([\d.]+)s)?/) ?? [];
  if (!place) return '';
  const seconds = total && Math.max(1, Math.round(total - spent));
  return `${ORDINALS[place - 1] ?? `Number ${place}`} in line.${seconds ? ` About ${seconds} s.` : ''}`;
}

/** @param {HTMLElement} element where the line stands; Gradio writes its own status beside it, which stays unseen */
export function connect(element) {
  const text = element.appendChild(document.createElement('p'));
  text.setAttribute('role', 'status');
  let queued = '';
  let patience = 0;
  const say = () => {
    const wanted = lost ? LOST : queued;
    if (text.textContent !== wanted) text.textContent = wanted;
  };
  if (!tellers.size) setInterval(ask, PAUSE);
  tellers.add(say);

  const block = element.closest('.block');
  const listen = () => {
    const status = waiting(block.textContent);
    if (!status) {
      clearTimeout(patience);
      patience = 0;
      queued = '';
    } else if (queued) queued = status;
    else patience ||= setTimeout(() => { queued = status; say(); }, SHORTEST);
    say();
  };
  new MutationObserver(listen).observe(block, { childList: true, subtree: true, characterData: true });
}
