// The figures of a sweep, made from the trials that its table shows.

import {cell, data} from "./common.js";
import {cividis, colour, isDark} from "./plots.js";

const CURVES = 200;
// Lines beyond these only hide each other.
const MISSING = -0.14;
// Height of the place where a key does not exist.
const BINS = 12;

// The report's colours are made for paper; on a dark ground the dark ones are brighter.
const BRIGHT = {"#0072B2": "#5BB8F0", "#009E73": "#3DD9A9", "#D55E00": "#FF8B3D"};
const ground = paper => isDark() ? BRIGHT[paper] ?? paper : paper;
const fateColour = fate => data.palette[fate] ? ground(data.palette[fate]) : colour("soft");
const short = key => key.replace(/^controllers\./, "");
const escaped = text => String(text).replace(/[&<>]/g, letter => ({"&": "&amp;", "<": "&lt;", ">": "&gt;"})[letter]);

// Many lines as one trace, with gaps between them: Plotly's time goes by traces.
class Lines {
  constructor() {
    Object.assign(this, {x: [], y: [], text: []});
  }

  add(number, points) {
    for (const [x, y] of points) {
      this.x.push(x);
      this.y.push(y);
      this.text.push(number);
    }
    this.x.push(null);
    this.y.push(null);
    this.text.push("");
  }
}

export function curves(chosen, all, label, logarithmic, marked) {
  const shown = chosen.filter(row => all.has(row.n)).slice(0, CURVES), groups = new Map();
  for (const row of shown) {
    if (!groups.has(row.f)) groups.set(row.f, new Lines());
    groups.get(row.f).add(row.n, all.get(row.n));
  }
  const traces = [...groups].map(([fate, lines]) => ({
    ...lines, type: "scatter", mode: "lines", name: fate, line: {color: fateColour(fate), width: 1}, opacity: 0.7, connectgaps: false,
    hovertemplate: "trial %{text}<br>update %{x}: %{y:.4g}<extra></extra>",
  }));
  const best = shown.find(row => row.n === marked) ?? shown[0];
  if (best) {
    const points = all.get(best.n);
    traces.push({
      x: points.map(point => point[0]), y: points.map(point => point[1]), text: points.map(() => best.n), type: "scatter", mode: "lines+markers", name: `trial ${best.n}`,
      line: {color: colour("ink"), width: 2.6}, marker: {size: 5}, hovertemplate: "trial %{text}<br>update %{x}: %{y:.4g}<extra></extra>",
    });
  }
  return {shown: shown.length, figure: [traces, {xaxis: {title: {text: "update"}}, yaxis: {title: {text: escaped(label)}, type: logarithmic ? "log" : "linear"}}]};
}

// Where a value lies on its axis, from 0 to 1; null where there is none.
function height(axis, value) {
  if (value === null || value === undefined) return null;
  if (axis.choices.length) {
    const index = axis.choices.findIndex(choice => JSON.stringify(choice) === JSON.stringify(value));
    return index < 0 ? null : axis.choices.length > 1 ? index / (axis.choices.length - 1) : 0.5;
  }
  const scale = axis.log ? Math.log : number => number;
  return axis.high > axis.low ? (scale(value) - scale(axis.low)) / (scale(axis.high) - scale(axis.low)) : 0.5;
}

// The value at a height, the inverse.
function valueAt(axis, place) {
  const share = Math.min(1, Math.max(0, place));
  return axis.log ? axis.low * (axis.high / axis.low) ** share : axis.low + share * (axis.high - axis.low);
}

function ticks(axis) {
  if (axis.choices.length) return axis.choices.map(choice => [height(axis, choice), cell(choice)]);
  return [0, 0.25, 0.5, 0.75, 1].map(share => [share, cell(Number(valueAt(axis, share).toPrecision(2)))]);
}

const objectiveAxis = values => ({key: data.goals[0].metric, low: Math.min(...values), high: Math.max(...values), log: false, choices: []});

function axesOf(rows) {
  return [...data.axes, objectiveAxis(rows.map(row => row.v))];
}

export function parallel(chosen, width) {
  const rows = chosen.filter(row => row.vs.length);
  if (!rows.length || !data.axes.length) return null;
  const axes = axesOf(rows), last = axes.at(-1), groups = Array.from({length: BINS}, () => new Lines());
  const sign = data.goals[0].goal === "maximize" ? 1 : -1, few = rows.length < 200;
  // by rank: a few very bad ones would make all others alike
  [...rows].sort((a, b) => sign * (a.v - b.v)).forEach((row, index) => {
    const places = axes.map((axis, at) => [at, height(axis, at < data.keys.length ? row.p[at] : row.v) ?? MISSING]);
    groups[Math.min(BINS - 1, Math.floor(BINS * ((index + 1) / rows.length) ** (few ? 2 : 4)))].add(row.n, places);
  });
  const traces = groups.map((lines, index) => {
    const share = index / (BINS - 1);  // strong on either ground: dark on light, bright on dark
    return {...lines, type: "scatter", mode: "lines", showlegend: false, connectgaps: false, opacity: few ? 0.5 + 0.45 * share : 0.25 + 0.7 * share,
      line: {color: cividis(isDark() ? 0.4 + 0.6 * share : 0.8 - 0.8 * share), width: 0.6 + 1.2 * share}, hovertemplate: "trial %{text}<extra></extra>"};
  }).filter(trace => trace.x.length);
  const missing = rows.some(row => data.axes.some((axis, index) => height(axis, row.p[index]) === null));
  const shapes = axes.map((_, index) => ({type: "line", x0: index, x1: index, y0: 0, y1: 1, line: {color: colour("soft"), width: 1}, layer: "above"}));
  const names = axes.flatMap((axis, index) => [...ticks(axis), ...(missing ? [[MISSING, "–"]] : [])].map(([y, text]) => ({
    x: index, y, text: escaped(text), showarrow: false, xanchor: index === axes.length - 1 ? "left" : "right", xshift: index === axes.length - 1 ? 5 : -5, font: {size: 11}, bgcolor: colour("paper"), opacity: 0.92, borderpad: 1,
  })));
  return [traces, {
    shapes, annotations: names, dragmode: matchMedia("(pointer: coarse)").matches ? false : "select", selectdirection: "any", margin: {l: 60, r: 60, t: 14, b: 60},
    xaxis: {tickvals: axes.map((_, index) => index), ticktext: axes.map(axis => escaped(short(axis.key))), showgrid: false, zeroline: false, range: [-0.35, axes.length - 0.65], tickangle: width < 110 * axes.length ? 35 : 0},
    yaxis: {visible: false, range: [missing ? -0.2 : -0.06, 1.06]},
  }];
}

// The words of a filter for a box that was drawn over axes; none for a box beside all of them.
export function boxWords(range, chosen) {
  const axes = axesOf(chosen.filter(row => row.vs.length)), [low, high] = [Math.min(...range.y), Math.max(...range.y)];
  return axes.flatMap((axis, index) => {
    if (index < Math.min(...range.x) || index > Math.max(...range.x)) return [];
    const name = index < data.keys.length ? short(axis.key) : "objective";
    if (axis.choices.length) {
      const inside = axis.choices.filter(choice => height(axis, choice) >= low && height(axis, choice) <= high);
      return inside.length ? [`${name}=${inside.map(cell).join("|")}`] : [];
    }
    const bounds = [[low, ">="], [high, "<="]].map(([place, operator]) => `${name}${operator}${Number(valueAt(axis, place).toPrecision(3))}`);
    return low <= 1 && high >= 0 ? bounds : [];
  }).map(word => word.replace(/\s/g, ""));
}

// Trials that no other one beats in every objective.
export function frontOf(rows) {
  const signs = data.goals.map(({goal}) => goal === "maximize" ? -1 : 1);
  const lexical = ([, a], [, b]) => { const at = a.findIndex((value, index) => value !== b[index]); return at < 0 ? 0 : a[at] - b[at]; };
  const points = rows.map(row => [row, row.vs.map((value, index) => signs[index] * value)]).sort(lexical);
  const front = [];  // in this order only what came before can beat a point
  for (const [row, point] of points) {
    const beaten = front.some(([, other]) => other.every((value, index) => value <= point[index]) && other.some((value, index) => value < point[index]));
    if (!beaten) front.push([row, point]);
  }
  return front.map(([row]) => row);
}

export function pareto(chosen) {
  const rows = chosen.filter(row => row.s === "COMPLETE" && row.vs.length === data.goals.length), front = frontOf(rows);
  if (!rows.length) return {front, figure: null};
  const dots = (name, some, color, size, x, y) => ({
    x: some.map(row => row.vs[x]), y: some.map(row => row.vs[y]), text: some.map(row => row.n), name, type: "scatter", mode: "markers", marker: {color, size, line: {width: size > 8 ? 0.6 : 0, color: colour("paper")}},
    hovertemplate: "trial %{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>", xaxis: y > 1 ? `x${y}` : "x", yaxis: y > 1 ? `y${y}` : "y", showlegend: y === 1,
  });
  const traces = data.goals.slice(1).flatMap((_, index) => {
    const y = index + 1, ordered = [...front].sort((a, b) => a.vs[0] - b.vs[0]);
    const stairs = {...dots("", ordered, colour("warn"), 1, 0, y), mode: "lines", line: {shape: "hv", color: "#E69F00"}, showlegend: false, hoverinfo: "skip"};
    // with more objectives the front is a surface: a line through it would mean nothing
    return [dots("trial", rows, ground("#0072B2"), 7, 0, y), ...(data.goals.length === 2 ? [stairs] : []), dots("Pareto front", front, "#E69F00", 10, 0, y)];
  });
  const own = {xaxis: {title: {text: escaped(data.goals[0].metric)}}, yaxis: {title: {text: escaped(data.goals[1].metric)}}};
  if (data.goals.length > 2) own.grid = {rows: 1, columns: data.goals.length - 1, pattern: "independent"};
  data.goals.slice(2).forEach(({metric}, index) => {
    own[`xaxis${index + 2}`] = {title: {text: escaped(data.goals[0].metric)}, gridcolor: colour("line")};
    own[`yaxis${index + 2}`] = {title: {text: escaped(metric)}, gridcolor: colour("line")};
  });
  return {front, figure: [traces, own]};
}

const WHEN = {start: "#8A8F98", middle: "#E69F00", end: "#0072B2"};

export function profile({title, lines}) {
  const traces = [];
  for (const [when, color] of Object.entries(WHEN)) {
    const some = lines.filter(line => line.when === when);
    some.forEach((line, index) => traces.push({
      x: line.depth, y: line.log10, type: "scatter", mode: "lines", name: `${when}, update ${cell(line.update)}`, legendgroup: when, showlegend: index === 0,
      line: {color: ground(color), width: 1.4}, opacity: some.length > 1 ? 0.6 : 1, hovertemplate: "depth %{x}: %{y:.3g}<extra></extra>",
    }));
  }
  return [traces, {title: {text: escaped(title), font: {size: 13}}, margin: {l: 52, r: 8, t: 64, b: 40}, legend: {orientation: "h", x: 0, y: 1.0, yanchor: "bottom", font: {size: 11}},
    xaxis: {title: {text: "depth (steps back from the end)"}}, yaxis: {title: {text: "log10 |δ|"}}}];
}
