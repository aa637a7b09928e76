'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = id => document.getElementById(id);
  const [ROW, STEP, TIME, KIND, LABEL] = [0, 1, 2, 3, 4];
  const { rows, labels, events, arrows, stamps, kinds, links } = data;
  const count = events.length;
  const LOCAL = kinds.findIndex(kind => kind[0] === 'local');
  const WAIT = kinds.findIndex(kind => kind[0] === 'wait');
  const RESUME = kinds.findIndex(kind => kind[0] === 'resume');
  const WAKE = links.findIndex(link => link[0] === 'wake');

  // Events are numbered so that every arrow leads to a higher number.
  const line = rows.map(() => []);
  const before = new Int32Array(count).fill(-1);
  const after = new Int32Array(count).fill(-1);
  const place = new Int32Array(count);
  events.forEach((event, i) => {
    const own = line[event[ROW]];
    if (own.length) { before[i] = own[own.length - 1]; after[before[i]] = i; }
    place[i] = own.length;
    own.push(i);
  });
  const into = Array.from({ length: count }, () => []);
  const outof = Array.from({ length: count }, () => []);
  arrows.forEach((arrow, k) => { into[arrow[1]].push(k); outof[arrow[0]].push(k); });

  function reach(from, step, arrowsOf, end) {
    const seen = new Uint8Array(count);
    const walk = [from];
    while (walk.length) {
      const at = walk.pop();
      const next = step[at];
      if (next >= 0 && !seen[next]) { seen[next] = 1; walk.push(next); }
      for (const k of arrowsOf[at]) {
        const other = arrows[k][end];
        if (!seen[other]) { seen[other] = 1; walk.push(other); }
      }
    }
    return seen;
  }
  const pastOf = i => reach(i, before, into, 0);
  const futureOf = i => reach(i, after, outof, 1);
  function clockOf(i) {
    const clock = new Uint32Array(rows.length);
    const seen = pastOf(i);
    seen[i] = 1;
    for (let j = 0; j < count; j++) if (seen[j]) clock[events[j][ROW]]++;
    return clock;
  }
  const sum = seen => seen.reduce((a, b) => a + b, 0);

  const text = s => s.replace(/[&<>"]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
  function describe(i) {
    const [kind, label] = [events[i][KIND], labels[events[i][LABEL]]];
    if (kind === LOCAL) return label;
    return label ? `${kinds[kind][0]} ${label}` : kinds[kind][0];
  }
  function nanos(ns) {
    for (const [unit, size] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]]) if (ns >= size) return `${+(ns / size).toFixed(3)} ${unit}`;
    return `${ns} ns`;
  }
  function clockText(clock, most) {
    const parts = [];
    clock.forEach((n, row) => { if (n) parts.push(`${text(rows[row][0])} ${n}`); });
    const rest = parts.length - most;
    return '⟨' + parts.slice(0, most).join(', ') + (rest > 0 ? `, and ${rest} more` : '') + '⟩';
  }

  // --- where events stand ---
  const steps = events.reduce((most, event) => Math.max(most, event[STEP]), 0) + 1;
  const times = events.map(event => event[TIME]);
  const [firstTime, lastTime] = [times.reduce((a, b) => Math.min(a, b), Infinity), times.reduce((a, b) => Math.max(a, b), 0)];
  let axis = 'step';
  const hidden = new Set();
  const unit = i => axis === 'step' ? events[i][STEP] + .7 : .7 + (times[i] - firstTime) / Math.max(1, lastTime - firstTime) * (steps - 1);
  const width = () => steps + .6;

  const view = byId('view');
  const diagram = byId('diagram');
  const namesWidth = Math.min(230, 50 + rows.reduce((most, row) => Math.max(most, row[0].length), 0) * 7.4);
  document.documentElement.style.setProperty('--names', `${namesWidth}px`);
  const rowHeight = Math.max(26, Math.min(62, (innerHeight - 210) / Math.max(1, rows.length)));
  const TOP = 22;
  let scale = 30;

  let chosen = -1, past = null, future = null, hits = [], hit = -1, hitSet = new Set();

  // Of [from, to) in units, `px` pixels each, at `left`.
  function draw(from, to, px, left) {
    const out = [];
    const x = i => left + (unit(i) - from) * px;
    const y = row => TOP + (row + .5) * rowHeight;
    const end = left + (to - from) * px;
    for (let row = 0; row < rows.length; row++) {
      if (row % 2) out.push(`<rect class="band" x="0" y="${TOP + row * rowHeight}" width="${end}" height="${rowHeight}"/>`);
    }
    ticks(out, from, to, px, left, y(rows.length - 1) + rowHeight / 2);
    const r = Math.max(1.6, Math.min(5, px / 4.5 + 1));
    const shown = i => !hidden.has(events[i][KIND]);
    for (let row = 0; row < rows.length; row++) {
      const own = line[row];
      const clamp = v => Math.max(left, Math.min(end, v));
      out.push(`<line class="rule" x1="${left}" x2="${end}" y1="${y(row)}" y2="${y(row)}"/>`);
      if (own.length) out.push(`<line class="life" x1="${clamp(x(own[0]))}" x2="${clamp(x(own[own.length - 1]))}" y1="${y(row)}" y2="${y(row)}"/>`);
    }
    const visible = [];
    for (let row = 0; row < rows.length; row++) {
      const own = line[row];
      let low = 0, high = own.length;
      while (low < high) { const mid = (low + high) >> 1; if (unit(own[mid]) < from) low = mid + 1; else high = mid; }
      let began = -1;
      // Whether it waits already; messages may be taken and given meanwhile.
      for (let k = low; k > 0 && low - k < 20; k--) {
        const kind = events[own[k - 1]][KIND];
        if (kind === WAIT) { began = own[k - 1]; break; }
        if (kind === RESUME) break;
      }
      for (let k = low; k < own.length; k++) {
        const i = own[k];
        const kind = events[i][KIND];
        if (kind === WAIT) began = i;
        if (kind === RESUME && began >= 0) {
          out.push(`<line class="gap" x1="${Math.max(left, x(began))}" x2="${Math.min(end, x(i))}" y1="${y(row)}" y2="${y(row)}"/>`);
          began = -1;
        }
        if (unit(i) >= to) break;
        visible.push(i);
      }
    }
    const inside = i => past[i] || future[i] || i === chosen;
    for (const arrow of arrows) {
      const [a, b, link] = arrow;
      if (unit(b) < from || unit(a) > to || !shown(a) || !shown(b)) continue;
      let [x1, y1, x2, y2] = [x(a), y(events[a][ROW]), x(b), y(events[b][ROW])];
      const length = Math.hypot(x2 - x1, y2 - y1) || 1;
      const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
      const gap = r + .8;
      const head = Math.min(8, 2 + r * 1.3, length / 3);
      const on = chosen >= 0 && ((past[a] && (past[b] || b === chosen)) || ((future[a] || a === chosen) && future[b])) ? ' on' : '';
      const [tx, ty] = [x2 - ux * gap, y2 - uy * gap];
      const [bx, by] = [tx - ux * head, ty - uy * head];
      const colour = links[link][1];
      out.push(`<path class="a${on}${link === WAKE ? ' wake' : ''}" d="M${(x1 + ux * gap).toFixed(1)} ${(y1 + uy * gap).toFixed(1)}L${bx.toFixed(1)} ${by.toFixed(1)}" stroke="${colour}"/>`
        + `<path class="h${on}" d="M${tx.toFixed(1)} ${ty.toFixed(1)}L${(bx - uy * head * .45).toFixed(1)} ${(by + ux * head * .45).toFixed(1)}L${(bx + uy * head * .45).toFixed(1)} ${(by - ux * head * .45).toFixed(1)}Z" fill="${colour}"/>`);
    }
    const names = [];
    const freeAbove = rows.map(() => -1e9), freeBelow = rows.map(() => -1e9);
    for (const i of visible) {
      const [row, , , kind, label] = events[i];
      if (!shown(i)) continue;
      let mark = '';
      if (chosen >= 0) mark = i === chosen ? ' self' : past[i] ? ' past' : future[i] ? ' future' : '';
      if (hitSet.has(i)) mark += ' hit';
      const big = i === chosen || hitSet.has(i) ? 1.8 : 0;
      out.push(`<circle class="e${mark}" data-i="${i}" cx="${x(i).toFixed(1)}" cy="${y(row)}" r="${(r + big).toFixed(1)}" fill="${kinds[kind][1]}"/>`);
      const named = kind === LOCAL && px >= 7 || i === chosen || hitSet.has(i);
      if (!named) continue;
      const words = kind === LOCAL ? labels[label] : describe(i);
      const short = words.length > 34 ? words.slice(0, 33) + '…' : words;
      const half = short.length * 3.2 + 3;
      // On the side from which no arrow comes, if there is room.
      const above = into[i].some(k => events[arrows[k][0]][ROW] < row) || outof[i].some(k => events[arrows[k][1]][ROW] < row);
      const at = from === 0 ? Math.max(left + half, x(i)) : x(i);
      const sides = [[freeAbove, -11], [freeBelow, 19]];
      const side = (above ? sides.reverse() : sides).find(([free]) => at - half >= free[row]);
      if (!side) continue;
      side[0][row] = at + half;
      const dy = side[1];
      names.push(`<text class="l${chosen >= 0 && inside(i) ? ' on' : ''}" x="${at.toFixed(1)}" y="${y(row) + dy}">${text(short)}</text>`);
    }
    return out.join('') + names.join('');
  }

  function ticks(out, from, to, px, left, bottom) {
    if (axis !== 'time' || lastTime <= firstTime) return;
    const perUnit = (lastTime - firstTime) / Math.max(1, steps - 1);
    const want = perUnit * 110 / px;
    const size = 10 ** Math.floor(Math.log10(want));
    const every = [1, 2, 5, 10].map(n => n * size).find(n => n >= want);
    const first = Math.max(0, Math.ceil((from - .7) * perUnit / every));
    for (let k = first; ; k++) {
      const at = k * every / perUnit + .7;
      if (at > to) return;
      const x = (left + (at - from) * px).toFixed(1);
      out.push(`<line class="tick" x1="${x}" x2="${x}" y1="${TOP}" y2="${bottom}"/><text class="ticktext" x="${+x + 3}" y="14">${nanos(Math.round(k * every))}</text>`);
    }
  }

  const height = () => TOP + rows.length * rowHeight + 14;
  let queued = false;
  function render() {
    queued = false;
    const total = width() * scale;
    diagram.setAttribute('width', total);
    diagram.setAttribute('height', height());
    const from = Math.max(0, view.scrollLeft / scale - 4);
    const to = Math.min(width(), (view.scrollLeft + view.clientWidth - namesWidth) / scale + 4);
    diagram.innerHTML = `<g transform="translate(${from * scale},0)">${draw(from, to, scale, 0)}</g>`;
    // Far away, lines are thin, so that something is to be seen between them.
    diagram.style.setProperty('--w', Math.max(.35, Math.min(1.3, scale / 11)).toFixed(2));
    diagram.style.setProperty('--ring', Math.max(1, Math.min(2.8, scale / 5)).toFixed(2));
    diagram.classList.toggle('chosen', chosen >= 0);
  }
  function soon() { if (!queued) { queued = true; requestAnimationFrame(render); } }

  function zoom(factor, at) {
    const middle = at ?? (view.clientWidth - namesWidth) / 2;
    const point = (view.scrollLeft + middle) / scale;
    scale = Math.max(fitting() * .9, Math.min(240, scale * factor));
    diagram.setAttribute('width', width() * scale);
    view.scrollLeft = point * scale - middle;
    render();
  }
  const fitting = () => Math.min(90, Math.max(.02, (view.clientWidth - namesWidth - 24) / width()));
  function fit() { scale = fitting(); render(); view.scrollLeft = 0; }
  function show(i) {
    const x = unit(i) * scale;
    const span = view.clientWidth - namesWidth;
    if (x < view.scrollLeft + 40 || x > view.scrollLeft + span - 40) view.scrollLeft = x - span / 2;
    const y = TOP + (events[i][ROW] + .5) * rowHeight;
    if (y < view.scrollTop + 20 || y > view.scrollTop + view.clientHeight - 20) view.scrollTop = y - view.clientHeight / 2;
  }

  // --- choosing ---
  function choose(i) {
    chosen = i;
    [past, future] = i >= 0 ? [pastOf(i), futureOf(i)] : [null, null];
    byId('clear').disabled = i < 0;
    byId('names').querySelectorAll('div').forEach((name, row) => name.classList.toggle('on', i >= 0 && events[i][ROW] === row));
    if (i >= 0) show(i);
    panel();
    render();
  }
  function panel() {
    if (chosen < 0) {
      byId('panel').innerHTML = '<h2>Which event could have caused which?</h2><p>Each line is a process, each dot an event. Click one: its causal past and future stand out, what is concurrent fades.</p>'
        + '<ul><li><kbd>Ctrl</kbd> + wheel, <kbd>+</kbd> <kbd>−</kbd>: zoom</li><li><kbd>←</kbd> <kbd>→</kbd>: along the process</li><li><kbd>/</kbd>: search</li><li><kbd>Esc</kbd>: clear</li></ul>';
      return;
    }
    const [p, f] = [sum(past), sum(future)];
    const stamp = stamps[chosen];
    const parts = arrow => `<li>${links[arrow[2]][0]} `;
    const from = into[chosen].map(k => parts(arrows[k]) + `from ${text(rows[events[arrows[k][0]][ROW]][0])}: ${text(describe(arrows[k][0]))}</li>`);
    const to = outof[chosen].map(k => parts(arrows[k]) + `to ${text(rows[events[arrows[k][1]][ROW]][0])}: ${text(describe(arrows[k][1]))}</li>`);
    byId('panel').innerHTML = `<h2>${text(describe(chosen))}</h2><p>${text(rows[events[chosen][ROW]][0])}, event ${place[chosen] + 1} of ${line[events[chosen][ROW]].length}</p><dl>`
      + (data.timed ? `<dt>at</dt><dd>${nanos(times[chosen])}</dd>` : '')
      + `<dt><i style="color:var(--past)"></i>causal past</dt><dd class="past">${p}</dd><dt><i style="color:var(--future)"></i>causal future</dt><dd class="future">${f}</dd><dt>concurrent</dt><dd>${count - 1 - p - f}</dd></dl>`
      + `<p>Clock ${clockText(clockOf(chosen), 40)}</p>`
      + (stamp ? `<p>Stamped ⟨${stamp.map(([who, n]) => `${text(who)} ${n}`).join(', ')}⟩</p>` : '')
      + `<ul>${from.slice(0, 20).join('')}${to.slice(0, 20).join('')}</ul>`;
  }

  // --- searching ---
  function search(word) {
    const wanted = word.trim().toLowerCase();
    hits = [];
    if (wanted) events.forEach((event, i) => { if (`${rows[event[ROW]][0]} ${describe(i)}`.toLowerCase().includes(wanted)) hits.push(i); });
    hitSet = new Set(hits);
    hit = -1;
    byId('hits').textContent = wanted ? `${hits.length} found` : '';
    render();
  }
  function next(by) {
    if (!hits.length) return;
    hit = (hit + by + hits.length) % hits.length;
    byId('hits').textContent = `${hit + 1} / ${hits.length}`;
    choose(hits[hit]);
  }

  // --- the page ---
  byId('summary').textContent = `${count} events of ${rows.length} processes, ${arrows.length} arrows` + (data.timed ? `, ${nanos(lastTime - firstTime)}` : '');
  byId('names').innerHTML = `<div style="height:${TOP}px"></div>` + rows.map(([name, kind]) => `<div style="height:${rowHeight}px" title="${text(name)}: ${kind}">${text(name)}</div>`).join('');
  byId('names').firstChild.remove();
  byId('names').style.paddingTop = `${TOP}px`;
  byId('names').style.height = `${height()}px`;
  if (!data.timed) byId('axis').remove();
  const used = new Set(events.map(event => event[KIND]));
  byId('legend').innerHTML = kinds.map(([name, colour], kind) => used.has(kind) ? `<button aria-pressed="true" data-kind="${kind}"><i style="background:${colour}"></i>${name}</button>` : '').join('')
    + links.map(([name, colour], link) => arrows.some(arrow => arrow[2] === link) ? `<span><i class="line" style="border-color:${colour};border-top-style:${link === WAKE ? 'dashed' : 'solid'}"></i>${name}</span>` : '').join('');
  byId('legend').addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    const kind = +button.dataset.kind;
    if (!hidden.delete(kind)) hidden.add(kind);
    button.setAttribute('aria-pressed', !hidden.has(kind));
    render();
  });
  byId('axis')?.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    axis = button.dataset.axis;
    byId('axis').querySelectorAll('button').forEach(each => each.setAttribute('aria-pressed', each === button));
    render();
    if (chosen >= 0) show(chosen);
  });
  byId('in').addEventListener('click', () => zoom(1.5));
  byId('out').addEventListener('click', () => zoom(1 / 1.5));
  byId('fit').addEventListener('click', fit);
  byId('clear').addEventListener('click', () => choose(-1));
  byId('print').addEventListener('click', () => window.print());
  byId('search').addEventListener('input', event => search(event.target.value));
  byId('search').addEventListener('keydown', event => { if (event.key === 'Enter') next(event.shiftKey ? -1 : 1); });
  view.addEventListener('scroll', soon);
  addEventListener('resize', soon);
  view.addEventListener('wheel', event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), event.clientX - view.getBoundingClientRect().left - namesWidth);
  }, { passive: false });
  diagram.addEventListener('click', event => {
    const dot = event.target.closest('.e');
    choose(dot ? +dot.dataset.i : -1);
  });
  const tip = byId('tip');
  diagram.addEventListener('mouseover', event => {
    const dot = event.target.closest('.e');
    tip.hidden = !dot;
    if (!dot) return;
    const i = +dot.dataset.i;
    const stamp = stamps[i];
    tip.innerHTML = `<b>${text(describe(i))}</b><span>${text(rows[events[i][ROW]][0])}${data.timed ? `, ${nanos(times[i])}` : ''}</span><br><code>${clockText(clockOf(i), 12)}</code>`
      + (stamp ? `<br><span>stamped</span> <code>⟨${stamp.map(([who, n]) => `${text(who)} ${n}`).join(', ')}⟩</code>` : '');
  });
  diagram.addEventListener('mousemove', event => {
    const wide = tip.offsetWidth, high = tip.offsetHeight;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - wide - 8)}px`;
    tip.style.top = `${event.clientY + 18 + high > innerHeight ? event.clientY - high - 12 : event.clientY + 18}px`;
  });
  diagram.addEventListener('mouseleave', () => { tip.hidden = true; });
  addEventListener('keydown', event => {
    if (event.target.tagName === 'INPUT') { if (event.key === 'Escape') event.target.blur(); return; }
    const keys = { '+': () => zoom(1.5), '=': () => zoom(1.5), '-': () => zoom(1 / 1.5), 0: fit, Escape: () => choose(-1), '/': () => byId('search').focus() };
    if (chosen >= 0) {
      keys.ArrowLeft = () => { if (before[chosen] >= 0) choose(before[chosen]); };
      keys.ArrowRight = () => { if (after[chosen] >= 0) choose(after[chosen]); };
    }
    if (keys[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); keys[event.key](); }
  });

  // Printed in bands, one below the other, as music is.
  function bands() {
    const wide = 1060, names = Math.min(namesWidth, 190);
    const px = Math.max(14, Math.min(40, (wide - names) / width()));
    const perBand = (wide - names) / px;
    const out = [];
    for (let from = 0; from < width(); from += perBand) {
      const to = Math.min(from + perBand, width());
      const labels = rows.map(([name], row) => `<text class="name" x="${names - 8}" y="${TOP + (row + .5) * rowHeight + 4}">${text(name.slice(0, 26))}</text>`).join('');
      out.push(`<svg viewBox="0 0 ${wide} ${height()}" class="${chosen >= 0 ? 'chosen' : ''}"><svg x="${names}" width="${(to - from) * px}" height="${height()}">${draw(from, to, px, 0)}</svg>${labels}</svg>`);
    }
    byId('bands').innerHTML = out.join('');
  }
  addEventListener('beforeprint', bands);
  addEventListener('afterprint', () => { byId('bands').innerHTML = ''; });

  panel();
  scale = Math.max(fitting(), 22);
  render();
  // For tests, and for the console.
  window.spacetime = { count, choose, search, next, clockOf, fit, describe, state: () => ({ chosen, past: past && Array.from(past.keys()).filter(i => past[i]), future: future && Array.from(future.keys()).filter(i => future[i]) }) };
})();
