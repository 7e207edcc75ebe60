// The charts: the data that Vega draws, in the order of `charts.py`.

const CHARTS = JSON.parse(byId("charts").textContent);
const views = new Map(); // by the id of the element: what draws there, or drew there last

const ink = (look) => (isDark() ? look.dark : look.color);

// Expressions are interpreted: the page's policy lets no text become a program.
function embed(id, chart, datasets) {
  return vegaEmbed(`#${id}`, { ...chart, datasets }, {
    renderer: "svg", ast: true, tooltip, downloadFileName: `${shown.title}-${id}`,
    actions: { export: true, source: false, compiled: false, editor: false },
  });
}

// A layer without data would say so on the console.
const withData = (chart, datasets) => ({ ...chart, layer: chart.layer.filter((layer) => datasets[layer.data.name].length) });

function draw(id, chart, datasets) {
  const before = views.get(id) ?? Promise.resolve();
  const drawn = before.then((old) => {
    old?.finalize();
    return embed(id, withData(chart, datasets), datasets);
  });
  views.set(id, drawn);
  return drawn;
}

function tooltip(handler, event, item, value) {
  const box = byId("tip");
  box.hidden = !value?.rows;
  if (box.hidden) return;
  const list = make("dl");
  for (const [name, text] of value.rows) list.append(make("dt", {}, name), make("dd", {}, text));
  box.replaceChildren(make("strong", {}, value.title), list);
  const { clientWidth: wide, clientHeight: high } = document.documentElement;
  box.style.left = `${Math.max(4, Math.min(event.clientX + 14, wide - box.offsetWidth - 4))}px`;
  box.style.top = `${Math.max(4, event.clientY + 14 + box.offsetHeight > high ? event.clientY - box.offsetHeight - 10 : event.clientY + 14)}px`;
}

// A chart whose axes have titles, and what else is said of the one across.
function withAxes(chart, across, up, axis) {
  const layer = chart.layer.map(({ encoding: { x, y, ...rest }, ...own }) =>
    ({ ...own, encoding: { ...rest, x: { ...x, title: across, axis }, y: { ...y, title: up, axis: { labelExpr: "format(datum.value, '~g')" } } } }));
  return { ...chart, layer };
}

// The coarsest of some steps of each decade of which four are among the values, where any are.
const STEPS = [[1], [1, 2, 5], [1, 2, 3, 4, 5, 6, 8], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]];

function ticks(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const first = Math.floor(Math.log10(low));
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, i) => 10 ** (first + i));
  const found = STEPS.map((steps) => decades.flatMap((decade) => steps.map((step) => Number((step * decade).toPrecision(3)))));
  return found.find((own) => own.filter((tick) => tick >= low && tick <= high).length > 3) ?? found.at(-1);
}

const isBetter = (a, b) => (state.y === "loss" ? a < b : a > b);

// The points that none of at most their cost beats, of what may be compared.
function front(points) {
  const found = [];
  for (const group of new Set(points.map((point) => point.group))) {
    const own = points.filter((point) => point.group === group).sort((a, b) => a.x - b.x || (isBetter(a.y, b.y) ? -1 : 1));
    let best = null;
    for (const point of own) {
      if (best === null || isBetter(point.y, best)) {
        best = point.y;
        found.push({ x: point.x, y: point.y, line: group, cell: point.cell });
      }
    }
  }
  return found;
}

const GREY = { color: "#808080", dark: "#808080" };
const SWITCHES = {
  law: ["the fitted law, with its 95% band"],
  papers: ["published, on ImageNet", { ...GREY, dash: [2, 3] }],
  lines: ["lines"],
  front: ["Pareto front of the means", { ...GREY, dash: [], wide: 5 }],
  bars: ["error bars"],
  twins: ["int8 twins, hollow"],
};

function isThere(name) {
  const { cells, laws, papers } = shown.tradeoff;
  if (name === "law") return laws.some((law) => law.score === state.y) && state.x === "mult_adds";
  if (name === "papers") return papers.length > 0 && ["mult_adds", "params"].includes(state.x) && state.y !== "loss";
  if (name === "twins") return state.y === "top1" && cells.some((cell) => cell.int8 !== null);
  if (name === "lines") return cells.some((cell) => cell.line !== null);
  return cells.length > 0;
}

const isOn = (name) => state.switches[name] && isThere(name);

function tipOf(cell) {
  const rows = Object.entries(cell.x).map(([column, value]) => [shown.costs[column], short(value)]);
  for (const [score, [mean, error]] of Object.entries(cell.y)) {
    const [scale, digits] = score === "loss" ? [1, 4] : [100, 2];
    const beside = error === null ? "" : ` ± ${(scale * error).toFixed(digits)}`;
    rows.push([shown.scores[score], (scale * mean).toFixed(digits) + beside]);
  }
  if (cell.int8 !== null) rows.push(["top-1 as int8, %", (100 * cell.int8).toFixed(2)]);
  const names = cell.trials.map((index) => shown.trials.keys[index]);
  rows.push([cell.trials.length > 1 ? `means of ${cell.trials.length} trials` : "trial", names.slice(0, 5).join("\n")]);
  return { title: cell.said, rows };
}

function tradeoffData() {
  const { cells, laws, papers } = shown.tradeoff;
  const scale = state.y === "loss" ? 1 : 100;
  const points = cells.flatMap((cell, index) => {
    const [x, score] = [cell.x[state.x], cell.y[state.y]];
    if (!(x > 0) || !score) return [];
    const look = { color: ink(cell), shape: cell.shape, dash: cell.dash, line: cell.line, group: cell.group };
    return [{ cell: index, x, y: scale * score[0], error: scale * (score[1] ?? 0), said: cell.said, tip: tipOf(cell), ring: Number(isCellPinned(cell)), ...look }];
  });
  const drawnLaws = isOn("law") ? laws.filter((law) => law.score === state.y) : [];
  const withLaw = new Set(drawnLaws.map((law) => law.line));
  const along = drawnLaws.flatMap((law) =>
    law.at.map(([x, y, low, high]) => ({ x, y: 100 * y, low: 100 * low, high: 100 * high, line: law.line, color: ink(law), dash: law.dash })));
  const twins = points.flatMap((point) => {
    const { int8, x } = cells[point.cell];
    const at = state.x === "bytes_float32" ? x.bytes_int8 : point.x;
    return int8 === null || !(at > 0) ? [] : [{ ...point, x: at, y: 100 * int8, said: `int8 twin of ${point.said}` }];
  });
  return {
    bands: along.map((at) => ({ ...at, y: at.low, y2: at.high })),
    laws: along,
    papers: isOn("papers") ? papers.map((one) => ({
      x: one[state.x], y: 100 * one[state.y], line: one.line, said: `published: ${one.said}`,
      tip: { title: `published: ${one.said}`, rows: [[shown.costs[state.x], short(one[state.x])], [shown.scores[state.y], (100 * one[state.y]).toFixed(1)]] },
    })) : [],
    lines: isOn("lines") ? points.filter((point) => point.line !== null && !withLaw.has(point.line)) : [],
    front: isOn("front") ? front(points) : [],
    bars: isOn("bars") ? points.filter((point) => point.error).map((point) => ({ ...point, y: point.y - point.error, y2: point.y + point.error })) : [],
    twins: isOn("twins") ? twins : [],
    cells: points,
  };
}

function scoresThere() {
  const there = Object.entries(shown.scores).filter(([score]) => shown.tradeoff.cells.some((cell) => cell.y[score]));
  return there.length ? there : Object.entries(shown.scores);
}

function drawTradeoff() {
  const data = tradeoffData();
  const names = Object.entries(shown.costs);
  byId("nothing").hidden = data.cells.length > 0;
  byId("nothing").textContent = shown.tradeoff.cells.length ? "No cell has both." : "No trial is done yet: nothing to draw.";
  byId("tradeoff").hidden = data.cells.length === 0;
  fillSelect(byId("x"), names.length ? names : [["mult_adds", "Mult-Adds per image"]], state.x);
  fillSelect(byId("y"), scoresThere(), state.y);
  const left = byId("switches").querySelector("legend");
  byId("switches").replaceChildren(left, ...Object.keys(SWITCHES).filter((name) => isThere(name)).map((name) => {
    const box = make("input", { type: "checkbox", name, checked: state.switches[name] });
    const [words, look] = SWITCHES[name];
    return make("label", {}, box, ...(look ? [swatch(look)] : []), words);
  }));
  byId("switches").hidden = !shown.tradeoff.cells.length;
  byId("legend").replaceChildren(...shown.tradeoff.legend.map(legendEntry));
  const missing = shown.tradeoff.cells.length - data.cells.length;
  const notes = data.cells.length && missing ? [`Not drawn: ${counted(missing, "cell")} without both.`] : [];
  byId("notes").textContent = [...notes, ...barNotes(data.bars), ...shown.tradeoff.notes].join(" ");
  if (!data.cells.length) return Promise.resolve();
  const labelExpr = `format(datum.value, '${state.x.startsWith("latency") ? "~g" : "~s"}')`;
  const values = ticks([...data.cells, ...data.papers, ...data.twins].map((point) => point.x));
  const chart = withAxes(CHARTS.tradeoff, `${shown.costs[state.x]} (log scale)`, shown.scores[state.y], { labelExpr, values, labelOverlap: "greedy", labelSeparation: 8 });
  return draw("tradeoff", chart, data).then(({ view }) => {
    view.addEventListener("click", (event, item) => {
      if (Number.isInteger(item?.datum?.cell)) togglePin(trialsOf(shown.tradeoff.cells[item.datum.cell]));
    });
  });
}

function barNotes(bars) {
  const sources = new Set(bars.map((bar) => shown.tradeoff.cells[bar.cell].y[state.y][2]));
  const notes = { seeds: "standard error over seeds, of a pooled sd", images: "standard error of the test images alone, of one seed" };
  return [...sources].filter((source) => notes[source]).map((source) => `Error bars: ${notes[source]}.`);
}

function legendEntry(entry) {
  if (!entry.shades) return make("li", {}, swatch(entry), entry.said);
  const shades = entry.shades.map((shade) => {
    const box = make("i", { title: `${entry.said} ${shade.said}` });
    box.style.background = ink(shade);
    return box;
  });
  const ends = [entry.shades[0].said, entry.shades.at(-1).said];
  return make("li", { className: "scale" }, `${entry.said} ${ends[0]} `, ...shades, ` ${ends[1]}`);
}

function fillSelect(select, options, value) {
  const before = [...select.options].map((option) => [option.value, option.text]);
  if (JSON.stringify(before) !== JSON.stringify(options)) {
    select.replaceChildren(...options.map(([key, name]) => make("option", { value: key }, name)));
  }
  select.value = value;
}

// The rings alone, when a pin comes or goes.
async function drawPins() {
  const drawn = await views.get("tradeoff");
  await drawn?.view.data("cells", tradeoffData().cells).runAsync();
}
