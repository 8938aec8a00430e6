// The colours of tokens.css as a canvas needs them, and the two things every map shares: the hatch and the ramp.

const NAMES = ['card', 'sunken', 'ink', 'ink-2', 'ink-3', 'accent', 'on-accent', 'wash', 'line', 'line-2', 'kept',
  'solid', 'hatch', 'hatch-ground', 'mark', 'halo'];
const RAMP = [[11, 31, 92], [32, 54, 154], [35, 98, 172], [31, 143, 192], [70, 181, 196], [134, 207, 187],
  [196, 232, 181], [238, 249, 192]];

/** @param {Element} element @returns {Object<string, string>} the current theme's colours, and its fonts */
export function palette(element) {
  const style = getComputedStyle(element);
  const colours = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--cg-${name}`).trim()]));
  return { ...colours, font: style.getPropertyValue('--cg-font'), mono: style.getPropertyValue('--cg-mono') };
}

/** Diagonal lines `gap` CSS pixels apart, crisp on any screen: what a hidden cell is filled with. */
export function hatch(context, colours, gap) {
  const ratio = window.devicePixelRatio || 1;
  const edge = Math.round(gap * ratio);
  const tile = document.createElement('canvas');
  tile.width = tile.height = edge;
  const pen = tile.getContext('2d');
  pen.fillStyle = colours['hatch-ground'];
  pen.fillRect(0, 0, edge, edge);
  pen.strokeStyle = colours.hatch;
  pen.lineWidth = ratio;
  pen.beginPath();
  for (const shift of [-edge, 0, edge]) {
    pen.moveTo(shift - 1, edge + 1);
    pen.lineTo(shift + edge + 1, -1);
  }
  pen.stroke();
  const pattern = context.createPattern(tile, 'repeat');
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

/** Colour of a step on the ramp from early to late. @returns {{fill: string, light: boolean}} */
export function stepColour(step, steps) {
  const at = steps < 2 ? RAMP.length - 1 : (step / (steps - 1)) * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  const rgb = RAMP[low].map((value, channel) => value + (RAMP[low + 1][channel] - value) * (at - low));
  const [r, g, b] = rgb.map((value) => {
    const unit = value / 255;
    return unit <= 0.04045 ? unit / 12.92 : ((unit + 0.055) / 1.055) ** 2.4;
  });
  return { fill: `rgb(${rgb.map(Math.round).join(',')})`, light: 0.2126 * r + 0.7152 * g + 0.0722 * b >= 0.18 };
}

/** Sizes a canvas to `width` x `height` CSS pixels on this screen. @returns {CanvasRenderingContext2D} scaled to CSS pixels */
export function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
