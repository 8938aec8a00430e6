// The decode that a cold page plays, recorded with the program: a learned schedule, and the same seed under cosine.
import { readTrace } from './trace-file.js';

/**
 * Read once, so that it plays without the server.
 * @param {string | URL} base the folder in which the recordings lie
 * @returns {Promise<Object[] | undefined>} the viewer's messages; undefined where there is no recording
 */
export async function readExample(base) {
  const [own, rival] = await Promise.all(['example.trace', 'example-cosine.trace'].map(async (name) => {
    const answer = await fetch(new URL(name, base));
    return answer.ok ? readTrace(await answer.arrayBuffer()) : undefined;
  }));
  if (!own) return undefined;
  own[0].tag = 'recorded example';
  return rival ? [...own, { type: 'beside', id: own[0].id, messages: rival }] : own;
}
