// The state of the page, what changes it, and, where it is live, newer data.

let shown = JSON.parse(byId("data").textContent);

const isImagenet = shown.tradeoff.cells.length > 0 && shown.tradeoff.cells.every(({ group }) => /^imagenet/i.test(group));

const state = {
  x: "mult_adds", y: "top1", switches: { law: true, papers: isImagenet, lines: true, front: true, bars: true, twins: true },
  table: "cells", sort: {}, filter: "", pinned: new Set(), layersOf: null, layersBy: "mult_adds",
};

// What was looked at stands behind the # of the address: it survives a reload, and can be sent along.
function remember() {
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify({ ...state, pinned: [...state.pinned] }))}`);
}

function recall() {
  try {
    const before = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    for (const key of Object.keys(state)) if (key in before) state[key] = before[key];
    state.pinned = new Set(state.pinned);
  } catch {
    // an address without, or of another version
  }
}

// The score that is drawn first, and has a standard error.
const mainScore = () => Object.keys(shown.scores)[0];

// Choices that the data do not have any more, or do not have yet, give way.
function settle() {
  if (!(state.x in shown.costs)) state.x = Object.keys(shown.costs)[0] ?? "mult_adds";
  if (!scoresThere().some(([score]) => score === state.y)) state.y = mainScore();
}

function changed(...parts) {
  remember();
  for (const part of parts) part();
}

function togglePin(keys) {
  const isPinned = keys.some((key) => state.pinned.has(key));
  for (const key of keys) state.pinned[isPinned ? "delete" : "add"](key);
  changed(markPins, drawPins, drawChosen);
}

const drawn = new Map(); // what each part showed when it was drawn last

// Draws a part again only where what it shows is new: open menus, focus and scrolling stay where they are.
function refresh(draw, ...told) {
  const now = JSON.stringify(told);
  if (drawn.get(draw) === now) return;
  drawn.set(draw, now);
  draw();
}

function drawChosen() {
  const { trials } = chosen();
  const keys = trials.map((index) => shown.trials.keys[index]);
  const of = (values) => trials.map((index) => values[index]);
  refresh(drawPinned, [...state.pinned], keys);
  refresh(drawCurves, keys, of(shown.curves));
  refresh(drawPictures, keys, of(shown.pictures));
  refresh(drawLayers, keys, of(shown.layers.of).map((place) => shown.layers.costs[place]));
  refresh(drawConfigs, keys, of(shown.configs.own), shown.configs.usual);
}

function drawAll() {
  settle();
  const counts = Object.entries(shown.counts).map(([status, count]) => `${count.toLocaleString("en")} ${status}`);
  byId("made").textContent = `${counts.join(", ")}; as of ${new Date(shown.made).toLocaleString()}`;
  refresh(drawTradeoff, shown.tradeoff, shown.costs);
  refresh(drawTable, shown.trials, shown.tradeoff.cells);
  drawChosen();
  refresh(drawFailures, shown.failures);
  refresh(drawProvenance, shown.provenance);
}

function listen() {
  listenToTable();
  byId("x").addEventListener("change", ({ target }) => { state.x = target.value; changed(drawTradeoff); });
  byId("y").addEventListener("change", ({ target }) => { state.y = target.value; changed(drawTradeoff); });
  byId("switches").addEventListener("change", ({ target }) => {
    state.switches[target.name] = target.checked;
    changed(drawTradeoff);
    byId("switches").querySelector(`[name="${target.name}"]`)?.focus();
  });
  byId("tables").addEventListener("change", ({ target }) => { state.table = target.value; changed(drawTable); });
  byId("filter").addEventListener("input", ({ target }) => { state.filter = target.value; changed(drawTable); });
  byId("layers-of").addEventListener("change", ({ target }) => { state.layersOf = target.value; changed(drawLayers); });
  byId("layers-by").addEventListener("change", ({ target }) => { state.layersBy = target.value; changed(drawLayers); });
  byId("pinned").addEventListener("click", ({ target }) => {
    if (target.id === "unpin") togglePin([...state.pinned]);
    else if (target.dataset.key) togglePin([target.dataset.key]);
  });
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("#failures details, details:has(#provenance)")) details.open = true;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawn.clear();
    drawAll();
  });
}

const PAUSE = 2000; // milliseconds between an answer and the next question
const LONGEST = 30000;

async function follow(pause, tag) {
  await new Promise((go) => { setTimeout(go, pause); });
  const time = new Date().toLocaleTimeString();
  try {
    const answer = await fetch("data.json", { cache: "no-store", headers: { "If-None-Match": tag } });
    if (answer.status === 200) {
      shown = await answer.json();
      drawAll();
    } else if (answer.status !== 304) {
      throw new Error(await answer.text());
    }
    byId("live").textContent = `Live: looked at ${time}.`;
    follow(PAUSE, answer.headers.get("ETag") ?? tag);
  } catch (error) {
    const why = error instanceof TypeError ? "nobody answers; was the report stopped?" : error.message;
    byId("live").textContent = `Not live since ${time}: ${why}`;
    follow(Math.min(2 * pause, LONGEST), tag);
  }
}

recall();
byId("filter").value = state.filter;
listen();
drawAll();
if (shown.tag) follow(PAUSE, shown.tag);
