// The static page: one viewer, a place to drop a file, and nothing that asks a server for anything but the example.
import { readExample } from './example.js';
import { readTrace } from './trace-file.js';
import { mount } from './viewer.js';

const viewer = mount(document.getElementById('viewer'));
const line = document.getElementById('line');
const prompt = document.getElementById('prompt');

/** @param {() => Promise<Object[]>} read gives the messages @param {string} name what they are read from */
async function play(read, name) {
  try {
    const messages = await read();
    line.textContent = '';
    const { recipe } = messages[0];
    prompt.textContent = recipe.prompt;
    document.getElementById('recipe').textContent = `seed ${recipe.seed} · ${recipe.steps} steps · schedule ${
      recipe.schedule} · guidance ${recipe.guidance} · ${recipe.model}:${recipe.checkpoint_name ?? recipe.checkpoint}`;
    viewer.load(messages);
  } catch (error) {
    line.textContent = `${name}: ${error.message}`;
  }
}

const pick = document.getElementById('pick');
pick.addEventListener('change', async () => {
  const [file] = pick.files;
  if (file) await play(async () => readTrace(await file.arrayBuffer()), file.name);
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
  if (file) await play(async () => readTrace(await file.arrayBuffer()), file.name);
});

// A link may name a trace that lies beside this page: explorer.html?trace=fox.trace
const wanted = new URLSearchParams(location.search).get('trace');
if (wanted === null) await play(() => readExample(location.href), 'example.trace');
else if (new URL(wanted, location.href).origin === location.origin) {
  const source = new URL(wanted, location.href);
  const name = source.pathname.split('/').pop();
  const answer = await fetch(source);
  if (answer.ok) await play(async () => readTrace(await answer.arrayBuffer()), name);
  else line.textContent = `${name}: there is no such file beside this page.`;
} else {
  line.textContent = 'Only a trace that lies beside this page can be opened by a link. Drop the file here.';
}
