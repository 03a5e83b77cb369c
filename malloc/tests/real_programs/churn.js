// JSON, Buffers, worker threads and a child process; every result is checked against a closed form.
const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const zlib = require('node:zlib');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const WORKERS = 4;

/** Fills many buffers with their own number, drops every other one, compresses the rest and back. */
function churnBuffers(seed) {
  const buffers = Array.from({ length: 4000 }, (_, i) => Buffer.alloc((i * 37) % 20000 + 1, (i + seed) % 256));
  for (let i = 0; i < buffers.length; i += 2) buffers[i] = null;
  let bytes = 0;
  buffers.forEach((buffer, i) => {
    if (buffer === null) return;
    if (i % 40 === 1) assert(zlib.inflateSync(zlib.deflateSync(buffer)).equals(buffer));
    assert(buffer.every((byte) => byte === (i + seed) % 256));
    bytes += buffer.length;
  });
  return bytes;
}

function jsonRoundTrip() {
  const records = Array.from({ length: 50000 }, (_, i) => ({ id: i, name: `record ${i}`, list: [i, i + 1] }));
  const text = JSON.stringify(records);
  assert.deepStrictEqual(JSON.parse(text).slice(-100), records.slice(-100));
  return text.length;
}

async function main() {
  const answers = await Promise.all(Array.from({ length: WORKERS }, (_, seed) => new Promise((resolve, reject) => {
    new Worker(__filename, { workerData: seed }).on('message', resolve).on('error', reject);
  })));
  assert(answers.every((bytes) => bytes === answers[0]));
  const child = execFileSync(process.execPath, ['-p', '[...Array(1000).keys()].reduce((a, b) => a + b)']);
  console.log(answers[0], jsonRoundTrip(), child.toString().trim());
}

if (isMainThread) main();
else parentPort.postMessage(churnBuffers(workerData));
