// What is told of single trials: those that are pinned, or a choice.

const MOST = CHARTS.palette.length; // trials that are drawn or compared at once

const placeOf = (key) => shown.trials.keys.indexOf(key);

// Indices of the trials that the parts below the table tell of, and whether they are pinned.
function chosen() {
  const pinned = [...state.pinned].map(placeOf).filter((index) => index >= 0);
  if (pinned.length) return { trials: pinned.slice(0, MOST), isChoice: false, left: Math.max(0, pinned.length - MOST) };
  const cells = [...shown.tradeoff.cells].sort((a, b) => (b.x.mult_adds ?? 0) - (a.x.mult_adds ?? 0));
  const orders = [cells.map((cell) => cell.trials[0]), shown.trials.keys.map((_, index) => index)];
  const known = orders.map((order) => order.filter((index) => shown.curves[index]));
  const from = [...known, ...orders].find((order) => order.length) ?? [];
  const count = Math.min(4, from.length);
  const trials = Array.from({ length: count }, (_, i) => from[Math.round((i * (from.length - 1)) / Math.max(1, count - 1))]);
  return { trials, isChoice: true, left: 0 };
}

function drawPinned() {
  const keys = [...state.pinned].filter((key) => placeOf(key) >= 0);
  byId("pinning").textContent = keys.length
    ? `${counted(keys.length, "trial")}, told of below.`
    : "Nothing: a click on a point or on a row pins its trials. Below stands a choice from the dearest to the cheapest.";
  const chips = keys.map((key) => {
    const button = make("button", { type: "button", title: "take away" }, key, " ×");
    button.dataset.key = key;
    button.setAttribute("aria-label", `unpin ${key}`);
    return make("li", {}, button);
  });
  if (keys.length > 1) chips.push(make("li", {}, make("button", { type: "button", id: "unpin" }, "unpin all")));
  byId("pinned").replaceChildren(...chips);
}

function drawCurves() {
  const { trials, left } = chosen();
  const known = trials.filter((index) => shown.curves[index]);
  byId("curves").hidden = !known.length;
  const thinned = known.filter((index) => shown.curves[index].of > shown.curves[index].epoch.length);
  const notes = [];
  if (!known.length) notes.push(trials.length ? "The folders of these trials are not there, or have no metrics yet." : "There are no trials.");
  if (left) notes.push(`Of the pinned trials, ${left} are not drawn: ${MOST} are the most.`);
  if (thinned.length) {
    const { of, epoch } = shown.curves[thinned[0]];
    notes.push(`Thinned to keep the page small: of up to ${counted(of, "row")} of a trial's metrics.jsonl every ${Math.ceil(of / epoch.length)}th is here, as it is.`);
  }
  byId("curves-note").textContent = notes.join(" ");
  const looks = known.map((_, i) => CHARTS.palette[i % CHARTS.palette.length]);
  byId("curves-legend").replaceChildren(...known.map((index, i) => make("li", {}, swatch({ ...looks[i], dash: [] }), shown.trials.keys[index])));
  if (!known.length) return;
  const join = (xs, ys, i, dash) => {
    const [key, look] = [shown.trials.keys[known[i]], looks[i]];
    return xs.flatMap((x, k) => (x === null || ys[k] === null ? [] : [{
      x, y: ys[k], color: ink(look), shape: look.shape, dash, line: `${i}${dash.length}`, said: key,
      tip: { title: key, rows: [["epoch", said("number", x)], ["", said("number", ys[k])]] },
    }]));
  };
  const each = (told) => known.flatMap((index, i) => told(shown.curves[index], i));
  const tested = each((curve, i) => join(curve.tested.epoch, curve.tested.loss, i, [5, 3]));
  const scores = each((curve, i) => join(curve.tested.epoch, curve.tested.score.map((y) => (y === null ? null : 100 * y)), i, []));
  const rates = each((curve, i) => join(curve.epoch, curve.rate, i, []));
  const trained = each((curve, i) => join(curve.epoch, curve.loss, i, []));
  const axis = { labelExpr: "format(datum.value, '~g')", tickCount: 6 };
  drawCurve("curve-loss", withAxes(CHARTS.curves, "epoch", "loss", axis), [...trained, ...tested], tested);
  drawCurve("curve-score", withAxes(CHARTS.curves, "epoch", shown.scores[mainScore()], axis), scores, scores);
  drawCurve("curve-rate", withAxes(CHARTS.curves, "epoch", "learning rate", axis), rates, rates.filter((at, i) => at.line !== rates[i + 1]?.line));
}

function drawCurve(id, chart, lines, marks) {
  byId(id).parentElement.hidden = !lines.length;
  if (lines.length) draw(id, chart, { lines, marks });
}

function drawPictures() {
  const known = chosen().trials.filter((index) => shown.pictures[index]?.length);
  byId("seen").hidden = !known.length;
  byId("pictures").replaceChildren(...known.map((index) => {
    const key = shown.trials.keys[index];
    const images = shown.pictures[index].map((src, i) => make("img", { src, alt: `test image ${i} beside its mask and what ${key} predicts` }));
    return make("figure", {}, make("figcaption", {}, key), ...images);
  }));
}

function drawLayers() {
  const { of, costs, plans } = shown.layers;
  const known = chosen().trials.filter((index) => of[index] !== null);
  byId("layers-controls").hidden = !known.length;
  if (!known.length) {
    byId("layers").replaceChildren(make("p", { className: "notes" }, "The folders of these trials are not there, or do not say what their layers cost."));
    return;
  }
  const keys = known.map((index) => shown.trials.keys[index]);
  if (!keys.includes(state.layersOf)) [state.layersOf] = keys;
  fillSelect(byId("layers-of"), keys.map((key) => [key, key]), state.layersOf);
  byId("layers-by").value = state.layersBy;
  const cost = costs[of[placeOf(state.layersOf)]];
  const plan = plans[cost.plan];
  const amounts = cost[state.layersBy];
  const [largest, whole] = [Math.max(...amounts), amounts.reduce((sum, amount) => sum + amount, 0)];
  const rows = plan.names.map((name, i) => {
    const bar = make("i", { className: "bar" });
    bar.style.width = `${(100 * amounts[i]) / (largest || 1)}%`;
    const share = `${((100 * amounts[i]) / (whole || 1)).toFixed(1)} %`;
    return [name, plan.kinds[i], cost.shapes[i], said("count", cost.mult_adds[i]), said("count", cost.params[i]), share, bar];
  });
  const total = ["all", "", "", said("count", sum(cost.mult_adds)), said("count", sum(cost.params)), "100 %", ""];
  const names = ["layer", "kind", "output", "Mult-Adds", "parameters", "share", ""];
  byId("layers").replaceChildren(plainTable(names, [...rows, total], [3, 4, 5], `cost of each layer of ${state.layersOf}`));
}

const sum = (values) => values.reduce((whole, value) => whole + value, 0);

function plainTable(names, rows, numeric, caption) {
  const isNumber = (k) => (numeric.includes(k) ? "number" : "");
  const heads = names.map((name, k) => make("th", { scope: "col", className: isNumber(k) }, name));
  const lines = rows.map((row) => make("tr", {}, ...row.map((value, k) => {
    const cell = make(k ? "td" : "th", { className: isNumber(k) }, value);
    if (!k) cell.scope = "row";
    return cell;
  })));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines));
  table.setAttribute("aria-label", caption);
  return table;
}

function drawConfigs() {
  const { usual, own } = shown.configs;
  const { trials } = chosen();
  const value = (index, key) => (key in own[index] ? own[index][key] ?? "–" : usual[key]);
  const alone = trials.length === 1;
  const differing = Object.keys(usual).filter((key) => (alone ? key in own[trials[0]] : new Set(trials.map((index) => value(index, key))).size > 1));
  const names = ["field", ...(alone ? ["most trials"] : []), ...trials.map((index) => shown.trials.keys[index])];
  const rows = differing.map((key) => [key, ...(alone ? [usual[key]] : []), ...trials.map((index) => value(index, key))]);
  const nothing = alone ? "The trial has what most trials have." : "Nothing.";
  byId("configs").replaceChildren(rows.length ? plainTable(names, rows, [], "fields in which configs differ") : make("p", { className: "notes" }, nothing));
}

function drawFailures() {
  const { found, lines } = shown.failures;
  const isOpen = new Map([...byId("failures").querySelectorAll("details")].map((one) => [one.dataset.key, one.open]));
  const parts = found.map(({ trial, status, error, log }) => {
    const key = shown.trials.keys[trial];
    const summary = make("summary", {}, make("b", {}, key), ` ${status}: ${error ?? "no word of why"}`);
    const details = make("details", { open: isOpen.get(key) ?? found.length <= 3 }, summary);
    details.dataset.key = key;
    const words = log ? `The end of log.txt, at most ${lines} lines:` : "Its log is not here.";
    details.append(make("p", { className: "notes" }, words), ...(log ? [make("pre", { tabIndex: 0 }, log)] : []));
    return details;
  });
  byId("failures").replaceChildren(...(parts.length ? parts : [make("p", { className: "notes" }, "None.")]));
}

function drawProvenance() {
  const versions = (said) => Object.entries(said ?? {}).filter(([, version]) => version).map(([name, version]) => `${name} ${version}`).join(", ") || "not known";
  const commit = (one) => (one.commit ? one.commit + (one.is_dirty ? ", with changes" : "") : "not known");
  const axes = (one) => Object.entries(one.axes).map(([key, values]) => `${key} = ${JSON.stringify(values)}`).join("; ") || "none";
  const again = (one) => one.command ?? `python -m mnet_jax.sweep --config FILE --workdir ${one.workdir}, with the config and the axes in its sweep.json`;
  const { sweeps, trained } = shown.provenance;
  const list = (pairs) => make("dl", {}, ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  byId("provenance").replaceChildren(
    ...sweeps.flatMap((one) => [make("h3", {}, `Sweep ${one.workdir}`), list([
      ["command", make("code", {}, again(one))], ["axes", axes(one)], ["commit", commit(one)], ["versions", versions(one.versions)],
    ])]),
    ...trained.flatMap((one) => [make("h3", {}, `Trained: ${counted(one.trials, "trial")}`), list([
      ["device", one.device ?? "not known"], ["commit", commit(one)], ["versions", versions(one.versions)],
    ])]),
  );
}
