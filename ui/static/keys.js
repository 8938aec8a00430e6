// What a key asks of a player: the viewer's, or that of two decodes beside each other.

const TYPING = 'input:not([type=checkbox]), textarea, select, [contenteditable=true], [role=listbox], [role=combobox]';
const ACTS = { ' ': 'play', arrowleft: 'back', arrowright: 'next', home: 'first', end: 'last', l: 'loop' };

/**
 * @param {KeyboardEvent} event @param {HTMLElement} element the player @param {Object<string, string>} more keys of its own
 * @returns {?string} null: not for this player; '': a key that means nothing here; else the act, and nobody else gets it
 */
export function heard(event, element, more = {}) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return null;
  if (event.target.closest?.(TYPING) || !element.offsetParent) return null;
  const act = { ...ACTS, ...more }[event.key.toLowerCase()];
  if (!act) return '';
  const button = event.target.closest?.('button, summary, a, [role=tab], [role=radio], input');
  if (button && (event.key === ' ' || button.matches('[role=tab], [role=radio]'))) return null;
  event.preventDefault();
  return act;
}
