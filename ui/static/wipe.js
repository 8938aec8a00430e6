// A slider over two pictures: the one is seen left of an edge, the other right of it.

/** @param {Object<string, HTMLElement>} parts stage (the pictures), wiper (the range that moves the edge) */
export function wipe({ stage, wiper }) {
  const show = () => {
    stage.style.setProperty('--edge', `${wiper.value}%`);
    wiper.setAttribute('aria-valuetext', `A on ${wiper.value} % of the width, B on the rest`);
  };
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    wiper.value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
    show();
  };
  stage.addEventListener('pointerdown', (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener('pointermove', (event) => { if (stage.hasPointerCapture(event.pointerId)) drag(event); });
  wiper.addEventListener('input', show);
  show();
}
