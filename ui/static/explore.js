// What the Explore tab needs in the browser: the viewer fed by Gradio, keys, dropping files, one-click corrections.
// Gradio loads its parts in any order, so nothing here looks for one before it is used.
import { corrections } from './corrections.js';
import { readExample } from './example.js';
import { forget } from './kept.js';
import { ratingForm } from './rating.js';
import { mount } from './viewer.js';

const SAVES = [['image', 'Picture (PNG, recipe inside)'], ['gif', 'Animation (GIF)'],
  ['shared', 'Trace to share (plays without this server)'], ['trace', 'Trace, numbers only']];
const by = (id) => document.getElementById(id);

/**
 * @param {HTMLElement} element where the viewer goes
 * @param {{value: ?string[]}} props `value`: the messages of the latest decode, each as JSON text
 * @param {(name: string, callback: () => void) => void} watch
 * @param {{rate: Function}} server
 */
export function connect(element, props, watch, server) {
  const viewer = mount(element);
  const example = readExample(new URL('studio/', document.baseURI));
  let playing = '';
  let applied = 0;
  let left = ''; // the decode that 'Start again' has put aside
  const apply = () => {
    const lines = props.value ?? [];
    if (!lines.length || lines[0] === left) return;
    if (lines[0] !== playing) [playing, applied] = [lines[0], 0];
    for (const line of lines.slice(applied)) {
      const message = JSON.parse(line);
      viewer[message.type](message);
      if (message.type !== 'close') continue;
      forget();
      if (Object.keys(message.files).length) viewer.actions(saveMenu(message.files));
      if (message.generation) viewer.below(ratingForm(message.generation, server.rate));
    }
    applied = lines.length;
  };
  /** A cold page is never empty: it plays a recorded decode, once. */
  const begin = async () => {
    const messages = await example;
    if (messages && !playing) viewer.load(messages);
  };
  watch('value', apply);
  apply();
  begin();
  clicked('#again', () => {
    cancel();
    forget();
    [left, playing] = [playing, ''];
    viewer.reset();
    begin();
  });
  keys(viewer);
  held();
  tabs();
  help();
  drops(element);
  corrections('#notice', '#prompt');
  shade();
  settings();
}

const cancel = () => (by('cancel') ?? by('leave'))?.click();

/** @param {string} selector @param {(part: HTMLElement) => void} act */
function clicked(selector, act) {
  document.addEventListener('click', (event) => {
    const part = event.target.closest(selector);
    if (part) act(part);
  });
}

function saveMenu(files) {
  const menu = document.createElement('details');
  menu.className = 'cg-menu';
  menu.append(Object.assign(document.createElement('summary'), { textContent: 'Save' }));
  const list = menu.appendChild(document.createElement('div'));
  for (const [kind, text] of SAVES) {
    if (!files[kind]) continue;
    const href = new URL(files[kind], document.baseURI).href;
    list.append(Object.assign(document.createElement('a'), { href, textContent: text, download: href.split('/').pop() }));
    if (kind === 'shared') list.append(player());
  }
  const shut = (event) => {
    if (!menu.isConnected) document.removeEventListener('click', shut);
    else if (!menu.contains(event.target) || event.target.closest('a')) menu.open = false;
  };
  document.addEventListener('click', shut);
  return menu;
}

/** A link to the page that plays shared traces. */
function player() {
  const href = new URL('studio/explorer.html', document.baseURI).href;
  const link = Object.assign(document.createElement('a'), { href, target: '_blank', textContent: 'how to play it' });
  link.className = 'cg-player';
  return link;
}

function keys(viewer) {
  // Before Gradio's fields see it: a checkbox that has the focus would take Enter for itself.
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    event.stopPropagation();
    [...document.querySelectorAll('#generate, .cg-go')].find((button) => button.offsetParent)?.click(); // of the tab in sight
  }, true);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !event.defaultPrevented) {
      const help = by('keys');
      if (help.open) help.open = false;
      else {
        cancel();
        viewer.halt();
      }
    } else if (event.key === '?' && !event.target.closest('input, textarea')) {
      const help = by('keys');
      help.open = !help.open;
    }
  });
}

/** To a server that is gone nothing is sent: Generate would turn into a Cancel of nothing. line.js says why. */
function held() {
  const hold = (event) => {
    if (!document.body.classList.contains('cg-lost')) return;
    event.preventDefault();
    event.stopPropagation();
  };
  document.addEventListener('click', (event) => { if (event.target.closest('#generate, .cg-go')) hold(event); }, true);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target.closest('#prompt, .cg-prompt')) hold(event);
  }, true);
}

/** Gradio's menu of models opens on every key: also on the one that leaves it, and then it stays open. */
function tabs() {
  document.addEventListener('keydown', (event) => {
    if (['Tab', 'Shift'].includes(event.key) && event.target.closest('#checkpoint, .cg-checkpoint')) event.stopPropagation();
  }, true);
}

/** The sheet of keys closes where a menu would: on a click elsewhere. */
function help() {
  document.addEventListener('click', (event) => {
    if (!event.target.closest('#keys')) by('keys')?.removeAttribute('open');
  });
}

/** A file dropped anywhere goes the way of the button 'Open a picture or trace'. */
function drops(element) {
  const carries = (event) => event.dataTransfer?.types.includes('Files');
  document.addEventListener('dragover', (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    element.classList.add('cg-over');
  });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) element.classList.remove('cg-over'); });
  document.addEventListener('drop', (event) => {
    element.classList.remove('cg-over');
    if (!carries(event) || !event.dataTransfer.files.length) return;
    event.preventDefault();
    const input = document.querySelector('#open ~ input[type=file], input[type=file]:has(+ #open)');
    const one = new DataTransfer();
    one.items.add(event.dataTransfer.files[0]);
    input.files = one.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
  });
}

/** The button's word for the other shade is chosen by studio.css. */
function shade() {
  const kept = localStorage.getItem('shade');
  if (kept) document.body.classList.toggle('dark', kept === 'dark');
  clicked('#shade', () => localStorage.setItem('shade', document.body.classList.toggle('dark') ? 'dark' : 'light'));
}

/** On a phone the settings are folded away behind a button. */
function settings() {
  clicked('#change button', (button) => button.setAttribute('aria-expanded', by('settings').classList.toggle('cg-open')));
}
