// The elements of two decodes beside each other, empty. Everything that changes is drawn into them by compare.js.
import { BACK, LOOP, MAP_NAMES, NEXT, PLAY } from './layout.js';

export const SIDES = [['left', 'A'], ['right', 'B']];
const TITLES = { picture: 'Picture', tokens: 'Tokens', confidence: 'Confidence', order: 'Reveal order' };

export const LAYOUT = `<div class="cg-duel">
<section class="cg-both" aria-label="Both decodes">
  <p class="cg-of"><q data-part="prompt"></q><span data-part="seed"></span><span class="cg-tag" data-part="tag" hidden></span></p>
  <p class="cg-parting" role="status" data-part="parting"></p>
  <div class="cg-choose" role="group" aria-label="Map">${MAP_NAMES.map((name) => `
    <button type="button" data-map="${name}" aria-pressed="${name === 'picture'}">${TITLES[name]}</button>`).join('')}
    <label><input type="checkbox" data-part="marks" checked> Mark what differs</label></div>
  <div class="cg-two">${SIDES.map(([side, letter]) => `
    <figure data-side="${side}"><figcaption><b>${letter}</b><span data-part="${side}-name"></span>
      <span class="cg-count" data-part="${side}-count"></span></figcaption>
      <canvas role="img" aria-label="Map of ${letter}" data-part="${side}-map"></canvas>
      <p class="cg-wrong" role="alert" data-part="${side}-wrong" hidden></p></figure>`).join('')}</div>
  <p class="cg-legend"><span><i class="hidden"></i>hidden</span><span><i class="new"></i>new</span>
    <span><i class="alone"></i>decided on one side only</span><span><i class="another">≠</i>another token</span></p>
</section>
<section class="cg-time-both" aria-label="When"><div class="cg-bar">
  <div class="cg-transport">
    <button type="button" class="primary" data-act="play" aria-keyshortcuts="Space">${PLAY}<span>Play</span></button>
    <button type="button" data-act="back" aria-keyshortcuts="ArrowLeft">${BACK}<span>Back</span></button>
    <button type="button" data-act="next" aria-keyshortcuts="ArrowRight">${NEXT}<span>Next</span></button>
    <button type="button" data-act="loop" aria-keyshortcuts="L" aria-pressed="false">${LOOP}<span>Loop</span></button>
    <button type="button" data-act="parts" aria-keyshortcuts="D" data-part="parts" disabled>They part <kbd>D</kbd></button>
    <strong data-part="counter"></strong>
  </div>
  <div class="cg-time" data-part="time">${SIDES.map(([side, letter]) => `
    <div class="cg-film"><p><b>${letter}</b><span> after each step</span></p><canvas data-part="${side}-film"></canvas></div>`).join('')}
    <div class="cg-flags"><p></p><svg data-part="flag" aria-hidden="true"></svg></div>
    <div class="cg-slider" role="slider" tabindex="0" aria-label="Step of both" aria-valuemin="1" data-part="slider">
      <p><b>Step</b><br>moves both</p><svg data-part="track" aria-hidden="true"></svg></div>
  </div></div>
  <div class="cg-rows" data-part="rowbox"><svg class="cg-names" data-part="names" aria-hidden="true"></svg>
    <svg data-part="rows" aria-hidden="true"></svg></div>
</section>
<section class="cg-step" aria-label="At this step">
  <h2 data-part="at">At this step</h2>
  <dl data-part="figures"></dl>
</section>
<section class="cg-found" aria-label="What was found">
  <h2>What was found in the final pictures</h2>
  <div class="cg-scores" data-part="scores">${SIDES.map(([side]) => `<div data-part="${side}-score"></div>`).join('')}</div>
  <p class="cg-note">Found: a detector sees exactly what the prompt asks for, and nothing else. The soft score says how
    much of it is there, from 0 (nothing) to 1 (all of it). Two pictures are one case, not a measure of a model.</p>
</section>
<section class="cg-wipe" aria-label="One final picture over the other">
  <h2>The final pictures, one over the other</h2>
  <p class="cg-note" data-part="wait"></p>
  <div data-part="wipe" hidden>
    <div class="cg-over-other" data-part="stage">${SIDES.map(([side, letter]) => `
      <img data-part="${side}-final" alt="Final picture of ${letter}" draggable="false">`).join('')}<i></i></div>
    <label><span>A</span><input type="range" min="0" max="100" value="50" data-part="wiper" aria-label="Edge between A and B"
      aria-keyshortcuts="S"><span>B</span></label>
    <p class="cg-note">Drag on the picture, or press <kbd>S</kbd> and then ← →. A is left of the edge, B right of it.</p>
  </div>
</section></div>
<p class="cg-aloud" role="status" aria-live="polite" data-part="aloud"></p>`;
