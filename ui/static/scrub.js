// The boxes of When: a drag anywhere in one of them goes to a step, and where they are too narrow they scroll together.
import { axis, inSight } from './timeline.js';

/**
 * @param {HTMLElement[]} boxes film with slider, and rows
 * @param {() => number} steps how many there are; 0 as long as there is nothing to go to
 * @param {(t: number) => void} seek
 * @returns {(grid: Object, t: number) => void} scrolls to the column of step t, if that is another step than before
 */
export function scrub(boxes, steps, seek) {
  const scroll = (left) => { for (const box of boxes) if (box.scrollLeft !== left) box.scrollLeft = left; };
  for (const box of boxes) {
    const go = (event) => {
      const grid = axis(box.clientWidth, steps());
      const x = Math.max(grid.left, event.clientX - box.getBoundingClientRect().left); // names cover what is left of them
      seek(grid.at(x + box.scrollLeft));
    };
    box.addEventListener('pointerdown', (event) => {
      if (!steps() || event.button) return;
      box.setPointerCapture(event.pointerId);
      go(event);
    });
    box.addEventListener('pointermove', (event) => { if (steps() && box.hasPointerCapture(event.pointerId)) go(event); });
    box.addEventListener('scroll', () => scroll(box.scrollLeft));
  }
  let shown = -1;
  return (grid, t) => {
    if (t !== shown) scroll(inSight(grid, t, boxes[0].scrollLeft));
    shown = t;
  };
}
