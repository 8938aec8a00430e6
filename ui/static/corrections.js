// Buttons under a prompt that put a known word in the place of an unknown one, or offer a whole prompt.

/** @param {string} notice selector of where the buttons stand @param {string} prompt selector of the prompt */
export function corrections(notice, prompt) {
  document.addEventListener('click', (event) => {
    const button = event.target.closest(`${notice} :is([data-word], [data-prompt])`);
    if (!button) return;
    const { word, start, end, prompt: whole } = button.dataset;
    const echoed = document.querySelector(`${notice} q`)?.textContent;
    const field = document.querySelector(`${prompt} :is(textarea, input)`);
    field.value = whole ?? echoed.slice(0, Number(start)) + word + echoed.slice(Number(end));
    field.dispatchEvent(new Event('input', { bubbles: true }));
    field.focus();
  });
}
