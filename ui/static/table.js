// The same rows as text, for those who read rather than look.

const HEAD = ['Step', 'New', 'Kept before', 'Hidden after', 'Re-mask ratio r', 'Sampling temp. τₛ', 'Re-mask temp. τᵣ',
  'Guidance scale s', 'Entropy, nats'];

/** @param {HTMLElement} element @param {import('./record.js').Record} record @param {number} now */
export function drawTable(element, record, now) {
  const rows = record.frames.map((frame, t) => {
    const { hidden, new: fresh, kept } = record.counts(t);
    const [r, sampling, remask, guidance] = frame.schedule;
    const cells = [t + 1, fresh, kept, hidden, r.toFixed(3), sampling.toFixed(2), remask.toFixed(2), guidance.toFixed(2),
      frame.entropy.toFixed(2)];
    return `<tr${t === now ? ' aria-current="step"' : ''}>${cells.map((value, place) => (place
      ? `<td>${value}</td>` : `<th scope="row">${value}</th>`)).join('')}</tr>`;
  });
  element.innerHTML = `<table><caption>Of ${record.cells} tokens. r is the share of all tokens hidden after the step.`
    + `</caption><thead><tr>${HEAD.map((name) => `<th scope="col">${name}</th>`).join('')}</tr></thead>`
    + `<tbody>${rows.join('')}</tbody></table>`;
}
