// The viewer's elements, empty. Everything that changes is drawn into them by viewer.js.

const icon = (path) => `<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path d="${path}"/></svg>`;

export const PLAY = icon('M4 2.5v11l9-5.5z');
export const PAUSE = icon('M4 2.5h3v11H4zM9 2.5h3v11H9z');
export const BACK = icon('M4 2.5h2v11H4zM13 2.5v11L6.5 8z');
export const NEXT = icon('M10 2.5h2v11h-2zM3 2.5v11L9.5 8z');
export const LOOP = icon('M3 8a5 5 0 0 1 8.5-3.5L13 6V2h1.5v6.5H8V7h4l-1.6-1.5A3.5 3.5 0 0 0 4.5 8zm10 0a5 5 0 0 1-8.5 3.5L3 10v4H1.5V7.5H8V9H4l1.6 1.5A3.5 3.5 0 0 0 11.5 8z');

const MAPS = [
  ['picture', 'Picture', ''],
  ['tokens', 'Tokens', 'code, base 16'],
  ['confidence', 'Confidence', '<span class="cg-area">area: probability · </span>dashed: hidden'],
  ['order', 'Reveal order', '<span class="cg-ramp">step 1<i></i><b data-part="last"></b></span>'],
];

export const MAP_NAMES = MAPS.map(([name]) => name);

export const LAYOUT = `<div class="cg-panes">
<section class="cg-where" aria-label="Where">
  <header>
    <h2 data-part="where">Where: the picture</h2>
    <span class="cg-tag" data-part="tag" hidden></span>
    <p class="cg-legend">
      <span><i class="hidden"></i>hidden <b data-part="hidden">0</b></span>
      <span><i class="new"></i>new <b data-part="new">0</b></span>
      <span><i class="kept"></i>kept <b data-part="kept">0</b></span>
      <span class="cg-sum">= <span data-part="sum">0</span></span>
    </p>
  </header>
  <p class="cg-of"><b class="cg-earlier">Earlier picture:</b> <q data-part="prompt"></q><span data-part="seed"></span></p>
  <nav class="cg-tabs" role="tablist" aria-label="Map">${MAPS.map(([name, title], place) => `
    <button type="button" role="tab" data-tab="${name}" aria-selected="${place === 0}">${
  title === 'Reveal order' ? 'Order' : title}</button>`).join('')}
  </nav>
  <div class="cg-maps">${MAPS.map(([name, title, note]) => `
    <figure data-map="${name}">
      <figcaption><b>${title}</b><span>${note}</span></figcaption>
      <canvas tabindex="0" role="application" aria-roledescription="map of tokens" aria-label="${title}"></canvas>
    </figure>`).join('')}
    <div class="cg-below" data-part="below"></div>
    <div class="cg-side">
      <aside class="cg-inspector" data-part="inspector" aria-label="One token"></aside>
      <p class="cg-verdict" data-part="verdict"></p>
      <label class="cg-whole"><input type="checkbox" data-part="whole"> Show the model's whole guess</label>
    </div>
  </div>
</section>
<section class="cg-when" aria-label="When">
  <header>
    <h2>When: one column a step</h2>
    <p class="cg-legend"><span><i class="own" data-part="ownline"></i><span data-part="own"></span></span>
      <span><i class="cosine"></i>cosine</span><span><i class="linear"></i>linear</span></p>
  </header>
  <div class="cg-bar">
    <div class="cg-transport">
      <button type="button" class="primary" data-act="play" aria-keyshortcuts="Space">${PLAY}<span>Play</span></button>
      <button type="button" data-act="back" aria-keyshortcuts="ArrowLeft">${BACK}<span>Back</span></button>
      <button type="button" data-act="next" aria-keyshortcuts="ArrowRight">${NEXT}<span>Next</span></button>
      <button type="button" data-act="loop" aria-keyshortcuts="L" aria-pressed="false">${LOOP}<span>Loop</span></button>
      <label class="cg-speed"><span>Speed</span><select data-part="speed">
        <option value="0.5">0.5×</option><option value="1" selected>1×</option><option value="2">2×</option>
        <option value="4">4×</option></select></label>
      <button type="button" data-act="against" data-part="against" aria-keyshortcuts="C" aria-pressed="false" title="The same seed under cosine"
        hidden>Cosine</button>
      <strong data-part="counter"></strong>
      <span class="cg-actions" data-part="actions"></span>
    </div>
    <div class="cg-time" data-part="time">
      <div class="cg-film"><p><b>Picture</b><br>after each step</p><canvas data-part="film"></canvas></div>
      <div class="cg-film" data-part="rival" hidden><p><b>Cosine</b> <br>same seed</p><canvas data-part="rivalfilm"></canvas></div>
      <div class="cg-slider" role="slider" tabindex="0" aria-label="Step" aria-valuemin="1" data-part="slider">
        <p><b>Step</b><br>← → or drag</p><svg data-part="track" aria-hidden="true"></svg></div>
    </div>
  </div>
  <div class="cg-rows" data-part="rowbox"><svg class="cg-names" data-part="names" aria-hidden="true"></svg>
    <svg data-part="rows" aria-hidden="true"></svg></div>
  <p class="cg-foot"><span data-part="foot"></span></p>
  <details class="cg-table"><summary>Read as a table</summary><div data-part="table"></div></details>
</section>
<p class="cg-aloud" role="status" aria-live="polite" data-part="aloud"></p></div>`;
