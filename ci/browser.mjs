// What ci/browser.sh does in the browser, by the WebDriver protocol.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [port, pages, shots] = process.argv.slice(2);
const base = `http://127.0.0.1:${port}`;

async function call(method, path, body) {
  const response = await fetch(base + path, { method, body: body && JSON.stringify(body), headers: { 'content-type': 'application/json' } });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(value)}`);
  return value;
}

const { sessionId } = await call('POST', '/session', {
  capabilities: { alwaysMatch: {
    'goog:chromeOptions': { binary: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--window-size=1500,900', '--force-prefers-color-scheme=light'] },
    'goog:loggingPrefs': { browser: 'ALL' },
  } },
});
const on = (method, path, body) => call(method, `/session/${sessionId}${path}`, body);
const run = (script, ...args) => on('POST', '/execute/sync', { script, args });
const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';
const find = async css => (await on('POST', '/element', { using: 'css selector', value: css }))[ELEMENT];
const click = async css => on('POST', `/element/${await find(css)}/click`, {});
const type = async (css, text) => on('POST', `/element/${await find(css)}/value`, { text });
const shot = async name => writeFileSync(join(shots, `${name}.png`), Buffer.from(await on('GET', '/screenshot'), 'base64'));
const open = async name => on('POST', '/url', { url: `file://${join(pages, name)}` });

let passed = 0;
async function test(name, body) {
  await body();
  passed++;
  console.log(`ok  ${name}`);
}

// The page's own data, and order by the plainest algorithm there is.
const DATA = 'const d = JSON.parse(document.getElementById("data").textContent);';
async function order(i) {
  const d = await run(`${DATA} return {events: d.events, arrows: d.arrows}`);
  const edges = d.arrows.map(([from, to]) => [from, to]);
  const last = {};
  d.events.forEach(([row], at) => { if (row in last) edges.push([last[row], at]); last[row] = at; });
  // In the order in which one pass mostly does.
  const spread = (start, from, to) => {
    edges.sort((a, b) => from ? b[1] - a[1] : a[0] - b[0]);
    const seen = new Set([start]);
    for (let grew = true; grew;) {
      grew = false;
      for (const edge of edges) if (seen.has(edge[from]) && !seen.has(edge[to])) { seen.add(edge[to]); grew = true; }
    }
    seen.delete(start);
    return [...seen].sort((a, b) => a - b);
  };
  return { past: spread(i, 1, 0), future: spread(i, 0, 1), count: d.events.length };
}
const marked = css => run(`return [...document.querySelectorAll(arguments[0])].map(e => +e.dataset.i).sort((a, b) => a - b)`, `#diagram ${css}`);

try {
  await test('a recorded evening opens', async () => {
    await open('evening.html');
    const count = await run('return spacetime.count');
    assert.ok(count > 30);
    assert.equal(await run('return document.querySelectorAll("#names div").length'), await run(`${DATA} return d.rows.length`));
    await click('#fit');
    assert.equal((await marked('circle.e')).length, count, 'all events are drawn');
    await shot('evening');
  });

  await test('a click highlights causal past and future, and the rest fades', async () => {
    const i = await run(`${DATA} return d.events.findIndex(e => d.labels[e[4]] === "cooks")`);
    assert.ok(i >= 0);
    await click(`circle[data-i="${i}"]`);
    const wanted = await order(i);
    assert.ok(wanted.past.length > 0 && wanted.future.length > 0 && wanted.past.length + wanted.future.length + 1 < wanted.count);
    assert.deepEqual(await marked('circle.past'), wanted.past);
    assert.deepEqual(await marked('circle.future'), wanted.future);
    assert.deepEqual(await marked('circle.self'), [i]);
    const opacity = await run(`const of = css => getComputedStyle(document.querySelector(css)).opacity;
      return [of("#diagram circle.past"), of("#diagram circle.future"), of("#diagram circle.e:not(.past):not(.future):not(.self)")].map(Number)`);
    assert.ok(opacity[0] === 1 && opacity[1] === 1 && opacity[2] < .3, `${opacity}`);
    const panel = await run('return document.getElementById("panel").innerText');
    assert.match(panel, new RegExp(`causal past\\s+${wanted.past.length}\\b`));
    assert.match(panel, new RegExp(`causal future\\s+${wanted.future.length}\\b`));
    await shot('chosen');
    await click('#clear');
    assert.deepEqual(await marked('circle.past, #diagram circle.future'), []);
  });

  await test('hovering shows the stamp', async () => {
    await on('POST', '/actions', { actions: [{ type: 'pointer', id: 'mouse', parameters: { pointerType: 'mouse' }, actions: [
      { type: 'pointerMove', duration: 0, origin: { [ELEMENT]: await find('circle.e[data-i="8"]') }, x: 0, y: 0 }] }] });
    const tip = await run('return [document.getElementById("tip").hidden, document.getElementById("tip").innerText]');
    assert.equal(tip[0], false);
    assert.match(tip[1], /⟨.+ \d+.*⟩/);
    await shot('hover');
  });

  await test('searching finds and goes on', async () => {
    await type('#search', 'eats');
    const hits = await marked('circle.hit');
    assert.ok(hits.length >= 2);
    await type('#search', '\uE007');
    assert.equal((await run('return spacetime.state()')).chosen, hits[0]);
    await type('#search', '\uE007');
    assert.equal((await run('return spacetime.state()')).chosen, hits[1]);
    await run('spacetime.choose(-1)');
  });

  await test('kinds can be hidden', async () => {
    const all = (await marked('circle.e')).length;
    await click('#legend button');
    assert.ok((await marked('circle.e')).length < all);
    await click('#legend button');
    assert.equal((await marked('circle.e')).length, all);
  });

  await test('it can be drawn by time', async () => {
    await click('[data-axis="time"]');
    const inOrder = await run(`${DATA} const x = i => +document.querySelector('circle[data-i="' + i + '"]').getAttribute('cx');
      return [...Array(d.events.length - 1).keys()].every(i => d.events[i][2] > d.events[i + 1][2] || x(i) <= x(i + 1))`);
    assert.ok(inOrder);
    await shot('time');
    await click('[data-axis="step"]');
  });

  await test('a foreign log is drawn like our own', async () => {
    await open('voting.html');
    await click('#fit');
    const i = Math.floor(await run('return spacetime.count') / 2);
    await click(`circle[data-i="${i}"]`);
    const wanted = await order(i);
    assert.deepEqual(await marked('circle.past'), wanted.past);
    assert.deepEqual(await marked('circle.future'), wanted.future);
    await shot('voting');
  });

  await test('it prints in bands', async () => {
    await run('spacetime.choose(-1); dispatchEvent(new Event("beforeprint"))');
    assert.ok(await run('return document.querySelectorAll("#bands > svg").length') >= 1);
    const pdf = Buffer.from(await on('POST', '/print', { orientation: 'landscape', background: true }), 'base64');
    assert.equal(pdf.subarray(0, 5).toString(), '%PDF-');
    writeFileSync(join(shots, 'voting.pdf'), pdf);
  });

  await test('ten thousand events are usable', async () => {
    await open('many.html');
    const count = await run('return spacetime.count');
    assert.ok(count >= 8000, `${count} events`);
    await shot('many');
    await run('spacetime.fit()');
    assert.equal((await marked('circle.e')).length, count);
    const middle = Math.floor(count / 2);
    const took = await run('const began = performance.now(); spacetime.choose(arguments[0]); return performance.now() - began', middle);
    const state = await run('return spacetime.state()');
    const wanted = await order(middle);
    assert.deepEqual(state.past, wanted.past);
    assert.deepEqual(state.future, wanted.future);
    console.log(`    ${count} events, a choice drawn in ${Math.round(took)} ms`);
    await shot('many-chosen');
  });

  await test('nothing was reported to the console', async () => {
    const log = await on('POST', '/se/log', { type: 'browser' });
    assert.deepEqual(log.filter(entry => entry.level === 'SEVERE'), []);
  });
  console.log(`${passed} passed, 0 failed`);
} finally {
  await on('DELETE', '').catch(() => {});
}
