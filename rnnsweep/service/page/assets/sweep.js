// One sweep: its table, its figures, and what is new of it every second.

import {badge, cell, data, element, follow, say} from "./common.js";
import {Figure} from "./plots.js";
import {boxWords, curves, pareto, parallel, profile} from "./sweep_figures.js";
import {TrialTable} from "./table.js";

const byId = id => document.getElementById(id);
const section = id => document.querySelector(`#${id} .plot`);
const metric = byId("metric"), logarithmic = byId("log");
const points = new Map();
const MOST = 240;  // points of a curve
let seq = 0, asked = "", state = null, complete = -1, lost = "";

const table = new TrialTable(() => figures.forEach(figure => figure.touch()));

const curveFigure = new Figure(section("curves"), () => {
  const {shown, figure} = curves(table.chosen, points, metric.value || data.goals[0].metric, logarithmic.checked);
  const all = table.chosen.length;
  say(byId("curves-note"), `Mean over replicas, by rung. ${shown < all ? `${shown} of the table's ${all} trials, in its order` : `${shown} trials`}; the first one thick.`);
  return figure;
});
const parallelFigure = new Figure(section("parallel"), () => parallel(table.chosen, section("parallel").clientWidth) ?? [[], {annotations: [{text: "No trial has a result yet.", showarrow: false}], xaxis: {visible: false}, yaxis: {visible: false}}], 2000);
const figures = [curveFigure, parallelFigure];
if (section("pareto")) figures.push(new Figure(section("pareto"), () => {
  const {front, figure} = pareto(table.chosen);
  say(byId("front"), front.length ? `On the front: ${front.slice(0, 12).map(row => `#${row.n}`).join(", ")}${front.length > 12 ? ", ..." : ""}` : "None yet.");
  return figure;
}, 2000));

function facts(sweep, queue) {
  const place = name => document.querySelector(`#facts [data-of=${name}]`);
  for (const name of ["complete", "running", "pruned", "failed"]) say(place(name), sweep.trials[name]);
  say(place("diverged"), sweep.diverged);
  say(place("best"), sweep.best_text);
  if (sweep.best && place("winner").textContent !== `#${sweep.best.trial}`)
    place("winner").replaceChildren(element("a", {href: `${data.place}/trials/${sweep.best.trial}`}, `#${sweep.best.trial}`));
  const bar = document.querySelector("main > .bar"), share = Math.round(100 * sweep.progress);
  bar.setAttribute("aria-valuenow", share);
  bar.firstElementChild.value = sweep.progress;
  if (byId("state").textContent !== sweep.state) byId("state").replaceChildren(badge(sweep.state));
  if (byId("queue") && queue.queue && byId("queue").textContent !== queue.queue) byId("queue").replaceChildren(badge(queue.queue));
  const reason = byId("reason"), words = sweep.reason || queue.why;
  say(reason, words);
  reason.hidden = !words;
  document.title = `${share} % ${data.sweep} · rnnsweep`;
}

// The buttons of the sweep itself, where the visitor has any: what has paused can be resumed.
function steer(acts) {
  const box = document.querySelector(".steer .buttons");
  if (!box || [...box.querySelectorAll("button")].map(button => button.value).join() === acts.join()) return;
  const words = {pause: "Pause", stop: "Stop", resume: "Resume"};
  const buttons = acts.map((act, index) => element("button", {type: "submit", name: "act", value: act, class: index ? "" : "strong"}, words[act]));
  box.replaceChildren(...(buttons.length ? buttons : [element("span", {class: "soft"}, "Another driver runs this sweep, not the service; it takes requests below.")]));
}

function takePoints(news) {
  if (news.whole) points.clear();
  for (const [trial, more] of Object.entries(news.curves)) {
    let curve = (points.get(Number(trial)) ?? []).concat(more);
    if (curve.length > MOST) curve = curve.filter((_, index) => index % 2 === 0 || index === curve.length - 1);
    points.set(Number(trial), curve);
  }
}

// Metrics that trials report may be chosen once they have.
function takeKeys(keys) {
  const known = new Set([...metric.options].map(option => option.value));
  for (const key of keys) if (!known.has(key)) metric.append(element("option", {value: key}, key));
}

// Why trials failed, the most frequent reason first, and which.
function showLost() {
  const rows = [...table.rows.values()].filter(row => row.f === "failed" || row.share > 0), now = JSON.stringify(rows.map(row => [row.n, row.why]));
  if (now === lost) return;
  lost = now;
  const groups = new Map();
  for (const row of rows) {
    const why = row.why || (row.share > 0 ? "diverged" : "failed");
    groups.set(why, [...(groups.get(why) ?? []), row]);
  }
  const lines = [...groups].sort((a, b) => b[1].length - a[1].length).slice(0, 100).map(([why, some]) => {
    const links = some.slice(0, 12).flatMap(row => [" ", element("a", {href: `${data.place}/trials/${row.n}`}, `#${row.n}`), row.div === null ? "" : ` at ${cell(row.div)}`]);
    const what = element("span", {class: "fate", "data-fate": some[0].f}, some[0].f);
    return element("li", {}, `${some.length} × `, what, why === some[0].f ? "" : `: ${why}`, element("br"), element("small", {}, ...links, some.length > 12 ? " ..." : ""));
  });
  const body = lines.length ? element("ul", {class: "reasons"}, ...lines) : element("p", {}, "None.");
  document.querySelector("#lost .body").replaceChildren(body);
}

// ---------------------------------------------------------------- gradient profiles, read from checkpoints: seldom

const profiles = {seen: false, wanted: true, busy: false, at: 0};

async function showProfiles() {
  if (!profiles.seen || !profiles.wanted || profiles.busy || performance.now() - profiles.at < 15000 && profiles.at) return;
  Object.assign(profiles, {busy: true, wanted: false});
  const note = byId("profiles-note"), box = document.querySelector("#profiles .panels");
  try {
    say(note, box.childElementCount ? "" : "Reading checkpoints ...");
    const answer = await fetch(`${data.place}/profiles`), panels = await answer.json();
    if (!answer.ok) throw new Error(panels.error ?? answer.statusText);
    say(note, panels.length ? "" : "No checkpoint with a profile yet.");
    box.replaceChildren(...panels.map(({title}) => element("div", {class: "plot", role: "img", "aria-label": `Gradient profile of ${title}`})));
    panels.forEach((panel, index) => new Figure(box.children[index], () => profile(panel), 1000, false).touch());
  } catch (error) {
    say(note, `Not read: ${error.message}`);
    profiles.wanted = true;
  }
  Object.assign(profiles, {busy: false, at: performance.now()});
}

new IntersectionObserver(([entry]) => { profiles.seen = entry.isIntersecting; showProfiles(); }).observe(byId("profiles"));

// ---------------------------------------------------------------- news

function take(news) {
  const start = performance.now();
  if (state !== null && state !== news.sweep.state) seq = -1;  // which trials run hangs on it: all are asked for anew
  state = news.sweep.state;
  facts(news.sweep, news.queue);
  steer(news.buttons);
  takeKeys(news.keys);
  if (asked === metric.value) takePoints(news);
  table.take(news.rows, news.whole);
  if (Object.keys(news.curves).length) curveFigure.touch();
  showLost();
  const {complete: done} = news.sweep.trials;
  if (done !== complete) {
    complete = done;
    profiles.wanted = true;
  }
  showProfiles();
  seq = seq < 0 || asked !== metric.value ? 0 : news.seq;  // another metric has been chosen since
  document.body.dataset.seq = news.more ? "" : seq;
  performance.clearMeasures("update");
  performance.measure("update", {start});
  return news.more;
}

metric.addEventListener("change", () => { seq = 0; points.clear(); curveFigure.touch(); });
logarithmic.addEventListener("change", () => curveFigure.touch());

const boxes = new MutationObserver(() => {
  const plot = section("parallel");
  if (!plot.on) return;
  boxes.disconnect();
  plot.on("plotly_selected", event => {
    if (!event?.range) return;
    const words = boxWords(event.range, table.chosen);
    window.Plotly.relayout(plot, {selections: []});
    if (words.length) table.filterBy([table.filter.value.trim(), ...words].filter(Boolean).join(" "));
  });
  for (const one of [plot, section("curves")]) one.on?.("plotly_click", event => { const number = event.points[0]?.text; if (number !== "" && number !== undefined) location.href = `${data.place}/trials/${number}`; });
});
boxes.observe(section("parallel"), {attributes: true, childList: true});

document.getElementById("error")?.scrollIntoView({block: "center"});
function address() {
  asked = metric.value;
  return `${data.place}/live?after=${seq}&key=${encodeURIComponent(asked)}`;
}

follow(address, take);
