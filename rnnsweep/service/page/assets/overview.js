// All sweeps and the pool, anew every two seconds.

import {badge, cell, data, element, follow} from "./common.js";

const place = name => `${data.base}/sweeps/${encodeURIComponent(name)}`;

function bar(sweep) {
  const share = Math.round(100 * sweep.progress);
  return element("div", {class: "bar", role: "progressbar", "aria-label": "Progress of the budget", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": share}, element("progress", {class: "fill", max: 1, value: sweep.progress}));
}

const state = word => word ? badge(word) : "–";

function ago(seconds) {
  const passed = Math.max(0, Date.now() / 1000 - seconds);
  if (!seconds) return "–";
  return passed < 7200 ? `${Math.round(passed / 60)} min ago` : `${Math.round(passed / 3600)} h ago`;
}

// A cell that knows its column: on a narrow screen rows are cards.
function field(label, kind, ...children) {
  return element("td", {...(kind ? {class: kind} : {}), "data-label": label}, ...children);
}

function line(sweep) {
  const has = Boolean(sweep.trials.complete !== undefined), counts = sweep.trials;
  const ended = has ? `${counts.complete + counts.pruned + counts.failed} of ${sweep.wanted ?? "∞"}` : "";
  const best = has && sweep.best ? [`${sweep.best_text} `, element("a", {href: `${place(sweep.name)}/trials/${sweep.best.trial}`}, `#${sweep.best.trial}`)] : ["–"];
  return element("tr", {"data-name": sweep.name},
    element("th", {scope: "row"}, element("a", {href: place(sweep.name)}, sweep.name)),
    field("Queue", "", state(sweep.queue)), field("State", "", state(sweep.state)), field("Progress", "", has ? bar(sweep) : ""),
    field("Trials", "num", ended), field("Best so far", "num", ...best), field("User", "", sweep.user || "–"),
    field("Weight", "num", cell(sweep.weight) + (sweep.priority ? ` · priority ${sweep.priority}` : "")),
    field("Submitted", "", ago(sweep.submitted)), field("Remark", "text", sweep.why || sweep.reason || ""));
}

function worker(one) {
  const rows = Object.entries(one.rows), used = rows.reduce((sum, [, count]) => sum + count, 0);
  const busy = element("meter", {min: 0, max: 1, value: one.busy, "aria-label": "Share of the last minute in which it trained"});
  return element("tr", {}, element("th", {scope: "row"}, one.worker), field("Node", "", one.node), field("Device", "", one.device),
    field("Busy", "", busy, ` ${Math.round(100 * one.busy)} %`), field("Rows of slots", "num", `${used} of ${one.slots}`),
    field("Sweeps", "text", rows.map(([name, count]) => `${name} ${count}`).join(", ")));
}

// Rows that say what they said stay: the focus and a selection stay with them.
function replace(body, lines) {
  const old = [...body.rows];
  lines.forEach((line, index) => {
    if (!old[index]) body.append(line);
    else if (old[index].outerHTML !== line.outerHTML) {
      const link = document.activeElement?.closest("tr") === old[index] ? document.activeElement.getAttribute("href") : null;
      old[index].replaceWith(line);
      if (link) [...line.querySelectorAll("a")].find(one => one.getAttribute("href") === link)?.focus({preventScroll: true});
    }
  });
  old.slice(lines.length).forEach(line => line.remove());
}

follow(() => `${data.base}/live`, ({sweeps, workers}) => {
  replace(document.querySelector("#sweeps tbody"), sweeps.map(line));
  const none = element("tr", {}, element("td", {colspan: 6}, "No worker is up."));
  replace(document.querySelector("#workers tbody"), workers.length ? workers.map(worker) : [none]);
  document.getElementById("none").hidden = sweeps.length > 0;
  const running = sweeps.filter(one => one.state === "RUNNING").length;
  document.title = running ? `${running} running · rnnsweep` : "Sweeps · rnnsweep";
  document.body.dataset.seq = Number(document.body.dataset.seq ?? 0) + 1;
  return false;
}, 2000);
