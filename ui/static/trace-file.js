// Reads a .trace file in the browser (the format stands in cogrpo/trace.py) and turns it into the viewer's messages.

const MAGIC = 'CGTRACE1';
const MOST = 64 * 2 ** 20; // bytes, as in cogrpo/trace.py
const TOP = 5;
const OTHERS = { '\x89PNG': 'A PNG holds a picture and its recipe, but not its steps', GIF8: 'A GIF holds no recipe and no trace' };
const READERS = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float16: Uint16Array, float32: Float32Array };

export class TraceError extends Error {}

/**
 * @param {ArrayBuffer} buffer a shared trace: one that carries its pictures
 * @returns {Promise<Object[]>} the messages open, step, ..., step, close
 * @throws {TraceError} one sentence, for a foreign, truncated, tampered or picture-less file
 */
export async function readTrace(buffer) {
  if (buffer.byteLength > MOST) throw new TraceError('This file is larger than the allowed 64 MB.');
  const bytes = new Uint8Array(buffer);
  const magic = String.fromCharCode(...bytes.subarray(0, 8));
  const other = OTHERS[magic.slice(0, 4)];
  if (other) throw new TraceError(`${other}; drop the shared trace of the same picture.`);
  if (magic !== MAGIC) throw new TraceError('This is not a trace file: it does not begin with CGTRACE1.');
  await checkSum(bytes);
  const { header, arrays } = await unpack(bytes);
  if (!arrays.pictures || !arrays.atlas) {
    throw new TraceError('This trace holds numbers only; save it as a shared trace to watch it without the server.');
  }
  try {
    return messages(header, arrays);
  } catch (error) {
    if (error instanceof TraceError) throw error;
    throw new TraceError('This trace is damaged: its header does not describe what it holds.');
  }
}

async function checkSum(bytes) {
  const broken = new TraceError('This trace was cut short or changed: its checksum does not match.');
  if (bytes.length < 44) throw broken;
  if (!globalThis.crypto?.subtle) return; // a page that is neither https nor local cannot compute it
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.subarray(40)));
  if (sum.some((byte, place) => byte !== bytes[8 + place])) throw broken;
}

/** @returns {Promise<{header: Object, arrays: Object<string, Object>}>} typed arrays by name */
async function unpack(bytes) {
  try {
    const length = new DataView(bytes.buffer).getUint32(40, true);
    const header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(44, 44 + length)));
    const stream = new Blob([bytes.subarray(44 + length)]).stream().pipeThrough(new DecompressionStream('deflate'));
    const content = await new Response(stream).arrayBuffer();
    const arrays = {};
    for (const { name, dtype, shape, offset } of header.arrays) {
      const view = new READERS[dtype](content, offset, shape.reduce((a, b) => a * b, 1));
      arrays[name] = dtype === 'float16' ? Float32Array.from(view, half) : view;
    }
    return { header, arrays };
  } catch {
    throw new TraceError('This trace is damaged: its header or its arrays cannot be read.');
  }
}

/** A float16 by its bits. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function messages(header, arrays) {
  const [rows, columns] = header.grid;
  const cells = rows * columns;
  const { steps, recipe, extras } = header;
  const id = header.image_sha256;
  const inRow = (array, width, row) => Array.from(array.subarray(row * width, (row + 1) * width));
  const schedule = Array.from({ length: steps }, (_, t) => inRow(arrays.schedule, 4, t));
  const open = { type: 'open', id, recipe, grid: header.grid, vocab: header.vocab_size, steps, schedule,
    baselines: extras.baselines ?? {} };
  const { offsets } = extras.pictures;
  let packed = 0; // rows of the packed arrays that earlier steps have used
  const played = schedule.map((row, index) => {
    const kept = Array.from(arrays.kept_step, (step) => Number(step === index));
    const hidden = Array.from(arrays.kept_step, (step) => Number(step > index));
    const positions = [...Array(cells).keys()].filter((cell) => kept[cell] || hidden[cell]);
    const top = {
      positions,
      codes: positions.map((_, place) => inRow(arrays.top_codes, TOP, packed + place)),
      probs: positions.map((_, place) => inRow(arrays.top_probs, TOP, packed + place)),
    };
    packed += positions.length;
    return {
      type: 'step', id, index, kept, hidden, top, schedule: row,
      sampled: inRow(arrays.sampled, cells, index), confidence: inRow(arrays.confidence, cells, index),
      entropy: arrays.entropy[index], decoded: kept.reduce((a, b) => a + b, 0),
      picture: png(arrays.pictures.subarray(offsets[index], offsets[index + 1])),
    };
  });
  if (packed * TOP !== arrays.top_codes.length) throw new TraceError('This trace is damaged: its steps do not add up.');
  return [open, ...played, {
    type: 'close', id, milliseconds: extras.milliseconds ?? null, image: '', trace: '', verifier: extras.verifier ?? null,
    unknown: recipe.unknown ?? [], atlas: { ...extras.atlas, picture: png(arrays.atlas) },
  }];
}

function png(bytes) {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `data:image/png;base64,${btoa(text)}`;
}
