// One trial: curves of all its metrics, and what is new of it every second.

import {badge, cell, data, element, follow, say} from "./common.js";
import {Figure, colour} from "./plots.js";

const box = document.querySelector("#curves .panels");
const figures = new Map();
let entry = data.entry, state = entry.state;

function panel(key) {
  const plot = element("div", {class: "plot", role: "img", "aria-label": `Curve of ${key}`});
  box.append(plot);
  return new Figure(plot, () => {
    const points = entry.curves[key];
    const line = {x: points.map(point => point[0]), y: points.map(point => point[1]), type: "scatter", mode: points.length > 80 ? "lines" : "lines+markers", line: {color: colour("blue"), width: 2}, marker: {size: 5}, hovertemplate: "update %{x}: %{y:.5g}<extra></extra>", showlegend: false};
    return [[line], {title: {text: key.replace(/[<>&]/g, ""), font: {size: 13}}, margin: {l: 56, r: 10, t: 34, b: 38}, xaxis: {title: {text: "update"}}}];
  }, 1000, false);
}

// The objective's metric first, then the losses and errors, then what the gradients did.
function order(keys) {
  const rank = key => key === data.goals[0].metric ? 0 : key.startsWith("valid/") ? 1 : key.startsWith("train/") ? 2 : 3;
  return [...keys].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

function show() {
  for (const key of order(Object.keys(entry.curves))) {
    if (!figures.has(key)) figures.set(key, panel(key));
    figures.get(key).touch();
  }
  if (!figures.size) box.replaceChildren(element("p", {class: "soft"}, "No rung yet."));
  else box.querySelector("p")?.remove();
  const place = name => document.querySelector(`#facts [data-of=${name}]`);
  for (const name of ["step", "solved_at", "diverged_at", "attempts"]) say(place(name), cell(entry[name]));
  say(place("value"), (entry.unsolved ? "> " : "") + cell(entry.value));
  say(document.getElementById("reason"), entry.reason);
  document.getElementById("reason").hidden = !entry.reason;
  document.getElementById("state").replaceChildren(badge(entry.state));
}

function rows() {
  const cells = one => [one.state, cell(one.step), cell(one.solved_at), cell(one.diverged_at), cell(one.device_s), one.engine];
  const lines = entry.replicas.map(one => element("tr", {}, element("th", {scope: "row"}, String(one.replica)), ...cells(one).map((text, index) => element("td", {class: index > 0 && index < 5 ? "num" : "text"}, text))));
  document.querySelector("#replicas tbody").replaceChildren(...lines);
  const history = entry.history.map(([at, line]) => element("li", {}, element("time", {}, new Date(1000 * at).toISOString().slice(0, 19).replace("T", " ")), ` ${line}`));
  document.querySelector("#history ol").replaceChildren(...history);
}

show();
follow(() => `${data.place}/live?after=${entry.seq}`, news => {
  if (!news.state) return false;  // nothing new
  entry = news;
  if (entry.state !== state && document.querySelector(".steer") && /COMPLETE|PRUNED|FAILED/.test(entry.state)) document.querySelector(".steer").remove();
  state = entry.state;
  show();
  rows();
  return false;
});
