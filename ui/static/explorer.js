// The static page: one viewer, a place to drop a file, and nothing that asks a server for anything but the example.
import { readTrace } from './trace-file.js';
import { mount } from './viewer.js';

const viewer = mount(document.getElementById('viewer'));
const line = document.getElementById('line');
const prompt = document.getElementById('prompt');

/** @param {ArrayBuffer} buffer @param {string} name @param {string} [tag] */
async function play(buffer, name, tag = '') {
  try {
    const messages = await readTrace(buffer);
    line.textContent = '';
    const { recipe } = messages[0];
    prompt.textContent = recipe.prompt;
    document.getElementById('recipe').textContent = `seed ${recipe.seed} · ${recipe.steps} steps · schedule ${
      recipe.schedule} · guidance ${recipe.guidance} · ${recipe.model}:${recipe.checkpoint_name ?? recipe.checkpoint}`;
    messages[0].tag = tag;
    viewer.load(messages);
  } catch (error) {
    line.textContent = `${name}: ${error.message}`;
  }
}

const pick = document.getElementById('pick');
pick.addEventListener('change', async () => {
  const [file] = pick.files;
  if (file) await play(await file.arrayBuffer(), file.name);
  pick.value = '';
});
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('over');
});
document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) document.body.classList.remove('over'); });
document.addEventListener('drop', async (event) => {
  event.preventDefault();
  document.body.classList.remove('over');
  const [file] = event.dataTransfer.files;
  if (file) await play(await file.arrayBuffer(), file.name);
});

// A link may name a trace that lies beside this page: explorer.html?trace=fox.trace
const wanted = new URLSearchParams(location.search).get('trace');
const source = new URL(wanted ?? 'example.trace', location.href);
if (source.origin === location.origin) {
  const answer = await fetch(source);
  if (answer.ok) await play(await answer.arrayBuffer(), source.pathname.split('/').pop(), wanted ? '' : 'recorded example');
  else line.textContent = `${source.pathname.split('/').pop()}: there is no such file beside this page.`;
} else {
  line.textContent = 'Only a trace that lies beside this page can be opened by a link. Drop the file here.';
}
