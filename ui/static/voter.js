// Who votes: 128 random bits that this browser keeps, drawn when they are first needed. No name, no address.

const KEY = 'voter';

/** @returns {string} the pseudonym, the same at every visit */
export function pseudonym() {
  let known = localStorage.getItem(KEY);
  if (!known) {
    known = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    localStorage.setItem(KEY, known);
  }
  return known;
}

/**
 * Ask the server, which answers a refusal with `error`; a server that is not there is told the same way.
 * @param {(told: Object) => Promise<Object>} act @param {Object} told
 */
export async function ask(act, told) {
  // Where there is no answer, Gradio gives nothing.
  return await act({ voter: pseudonym(), ...told }) ?? { error: 'The server did not answer. Try again when it is back.' };
}
