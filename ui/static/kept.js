// A prompt that is not painted yet. Gradio comes back to a server that was lost by loading the page anew, perhaps more
// than once, with its parts in any order. What was typed outlives that until it is painted, and no other reload.

const KEY = 'prompt';
let arrived = false; // whether the field of this page has taken over what is kept
let asked = false; // whether Gradio has asked if a lost server is back; where it is, Gradio loads the page anew

const field = () => document.querySelector('#prompt :is(textarea, input)');
const keeping = () => sessionStorage.getItem(KEY) !== null;

/** The server is gone: our line says so, or Gradio has noticed, which may be sooner. */
const lost = () => document.body.classList.contains('cg-lost') || asked;

/** It is painted, or put aside. */
export const forget = () => sessionStorage.removeItem(KEY);

/** What Gradio shall put into the field once all its parts are there; undefined leaves the field alone. */
export const arriving = () => sessionStorage.getItem(KEY) ?? undefined;

/** Gradio has put it there. Until now the field did not show what is kept, and what is kept must not follow it. */
export function arrive() { arrived = true; }

const look = (requests) => { asked ||= requests.some(({ name }) => name.endsWith('/app_id')); };
const observer = new PerformanceObserver((list) => look(list.getEntries()));
observer.observe({ type: 'resource', buffered: true });

addEventListener('pagehide', () => {
  look(observer.takeRecords());
  const text = field()?.value;
  if (text !== undefined && (keeping() ? arrived : lost())) sessionStorage.setItem(KEY, text);
});

// What somebody types before the field has arrived is newer than what is kept.
document.addEventListener('input', (event) => {
  if (keeping() && event.target === field()) sessionStorage.setItem(KEY, field().value);
});
