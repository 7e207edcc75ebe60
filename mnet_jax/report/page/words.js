"use strict";
// Elements, and numbers in words. All text goes in as text: nothing of a workdir is ever read as HTML.

const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const SAY = {
  text: String,
  count: (value) => Math.round(value).toLocaleString("en"),
  score: (value) => value.toFixed(4),
  number: (value) => String(Number.parseFloat(value.toPrecision(6))),
};

function said(kind, value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? SAY[kind === "text" ? "number" : kind](value) : String(value);
}

function short(value) {
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= unit) return `${Number.parseFloat((value / unit).toPrecision(3))} ${name}`;
  }
  return String(Number.parseFloat(value.toPrecision(3)));
}

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// A swatch of the legends: a marker, a dash, or both.
function swatch({ color, dark, shape, dash, wide = 2.2 }) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "-15 -7 30 14");
  svg.setAttribute("aria-hidden", "true");
  const ink = isDark() ? dark : color;
  if (dash) {
    const line = document.createElementNS(space, "path");
    for (const [name, value] of [["d", "M-14,0H14"], ["stroke", ink], ["stroke-width", wide], ["opacity", wide > 4 ? 0.4 : 1]]) line.setAttribute(name, value);
    if (dash.length) line.setAttribute("stroke-dasharray", dash.join(" "));
    svg.append(line);
  }
  if (shape) {
    const marker = document.createElementNS(space, "path");
    for (const [name, value] of [["d", shape], ["transform", "scale(5)"], ["fill", ink]]) marker.setAttribute(name, value);
    svg.append(marker);
  }
  return svg;
}

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
