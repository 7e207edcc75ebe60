// The tables of means and of trials: what they show, sorted, filtered, and which rows are pinned.

const trialsOf = (cell) => cell.trials.map((index) => shown.trials.keys[index]);
const isCellPinned = (cell) => trialsOf(cell).some((key) => state.pinned.has(key));

const chosenTable = () => (shown.tradeoff.cells.length ? state.table : "trials");

// {columns, rows: [{keys, values}]} of the table that is chosen.
function tableOf(which) {
  const { columns, keys, rows } = shown.trials;
  if (which === "trials") return { columns, rows: rows.map((values, index) => ({ keys: [keys[index]], values })) };
  const { cells } = shown.tradeoff;
  const swept = columns.filter((column) => cells.length && column.key in cells[0].settings);
  const counts = columns.filter((column) => column.key in shown.costs);
  const scores = Object.keys(shown.scores).map((key) => ({ key, name: columns.find((column) => column.key === key).name, kind: "score" }));
  const found = [{ key: "said", name: "cell", kind: "text" }, ...swept.filter(() => swept.length > 1), ...counts];
  found.push({ key: "n", name: "n", kind: "count" }, scores[0], { key: "se", name: "se", kind: "score" }, ...scores.slice(1));
  if (cells.some((cell) => cell.int8 !== null)) found.push({ key: "int8", name: "top-1, int8", kind: "score" });
  found.push({ key: "unbeaten", name: "unbeaten", kind: "text" });
  const value = (cell, { key }) => {
    if (key === "n") return cell.trials.length;
    if (key === "se") return cell.y[mainScore()]?.[1];
    if (key === "unbeaten") return cell.unbeaten ? "yes" : "";
    return key in cell.y ? cell.y[key][0] : key in cell.x ? cell.x[key] : key in cell.settings ? cell.settings[key] : cell[key];
  };
  return { columns: found, rows: cells.map((cell) => ({ keys: trialsOf(cell), values: found.map((column) => value(cell, column) ?? null) })) };
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

// Rows in the order asked for, those without a value last, of which all words of the filter are in the row.
function arranged({ columns, rows }) {
  const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (row) => [...row.keys, ...row.values.map((value, i) => said(columns[i].kind, value))].join(" ").toLowerCase();
  const found = words.length ? rows.filter((row) => words.every((word) => text(row).includes(word))) : [...rows];
  const { key, down } = state.sort[chosenTable()] ?? {};
  const at = columns.findIndex((column) => column.key === key);
  if (at < 0) return found;
  return found.sort((a, b) => {
    const [one, two] = [a.values[at], b.values[at]];
    return compare(one, two) * (down && one !== null && two !== null ? -1 : 1);
  });
}

let tableRows = []; // as they stand in the table

function drawTable() {
  const table = tableOf(chosenTable());
  const body = byId("table").tBodies[0];
  const focused = body.contains(document.activeElement) ? tableRows[document.activeElement.sectionRowIndex]?.keys[0] : null;
  tableRows = arranged(table);
  byId("table").tHead.replaceChildren(make("tr", {}, ...table.columns.map(head)));
  const fragment = document.createDocumentFragment();
  tableRows.forEach((row, i) => {
    const line = make("tr", { tabIndex: i ? -1 : 0 });
    row.values.forEach((value, k) => {
      const { kind } = table.columns[k];
      const cell = make(k ? "td" : "th", { textContent: said(kind, value) });
      if (!k) Object.assign(cell, { scope: "row", title: said(kind, value) });
      if (/^(failed|diverged)/.test(value) && table.columns[k].key === "status") cell.className = "warning";
      if (kind !== "text") cell.className = "number";
      line.append(cell);
    });
    fragment.append(line);
  });
  body.replaceChildren(fragment);
  markPins();
  byId("count").textContent = `${tableRows.length.toLocaleString("en")} of ${counted(table.rows.length, "row")}`;
  byId("unbeaten").hidden = chosenTable() !== "cells";
  for (const box of byId("tables").querySelectorAll("input")) box.checked = box.value === chosenTable();
  if (focused) focusRow(tableRows.findIndex((row) => row.keys[0] === focused));
}

function head({ key, name, kind }) {
  const sort = state.sort[chosenTable()];
  const cell = make("th", { scope: "col", className: kind === "text" ? "" : "number" });
  const button = make("button", { type: "button" }, name);
  button.dataset.key = key;
  cell.append(button);
  if (sort?.key === key) cell.ariaSort = sort.down ? "descending" : "ascending";
  return cell;
}

function markPins() {
  [...byId("table").tBodies[0].rows].forEach((line, i) => {
    line.ariaSelected = String(tableRows[i].keys.some((key) => state.pinned.has(key)));
  });
}

function focusRow(i) {
  const lines = byId("table").tBodies[0].rows;
  if (!lines.length || i < 0) return;
  const target = lines[Math.min(i, lines.length - 1)];
  for (const line of byId("table").tBodies[0].querySelectorAll('[tabindex="0"]')) line.tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}

function listenToTable() {
  const table = byId("table");
  table.tHead.addEventListener("click", ({ target }) => {
    const { key } = target.dataset;
    if (!key) return;
    const before = state.sort[chosenTable()];
    const isSame = before?.key === key;
    state.sort[chosenTable()] = isSame && before.down ? undefined : { key, down: isSame };
    changed(drawTable);
    table.tHead.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
  });
  table.tBodies[0].addEventListener("click", ({ target }) => {
    const line = target.closest("tr");
    if (line && !getSelection().toString()) togglePin(tableRows[line.sectionRowIndex].keys);
  });
  table.tBodies[0].addEventListener("keydown", (event) => {
    const i = event.target.closest("tr").sectionRowIndex;
    const to = { ArrowDown: i + 1, ArrowUp: Math.max(0, i - 1), Home: 0, End: tableRows.length - 1 }[event.key];
    if (to !== undefined) focusRow(to);
    else if (["Enter", " "].includes(event.key)) togglePin(tableRows[i].keys);
    else return;
    event.preventDefault();
  });
}
