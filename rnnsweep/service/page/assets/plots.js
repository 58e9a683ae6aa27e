// Plotly, loaded when the first figure comes into view; figures that nobody sees are not drawn.

import {data} from "./common.js";

let loading;

export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = data.plotly;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { loading = undefined; reject(new Error("Plotly could not be loaded")); };
    document.head.append(script);
  });
  return loading;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(pointer: coarse)");

export const isDark = () => dark.matches;

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function axis(own = {}) {
  const line = colour("line");
  return {gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...own};
}

// A layout in the page's colours. A finger on a figure scrolls the page: it does not draw boxes.
export function layout(own) {
  const {xaxis, yaxis, ...rest} = own;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {color: colour("ink"), family: getComputedStyle(document.body).fontFamily, size: 12},
    margin: {l: 58, r: 14, t: 14, b: 44}, hovermode: "closest", uirevision: "same",
    legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom"}, modebar: {bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("blue")},
    hoverlabel: {bgcolor: colour("paper"), font: {color: colour("ink")}, bordercolor: colour("soft")},
    dragmode: still.matches ? false : "zoom",
    xaxis: axis(xaxis), yaxis: axis(yaxis), ...rest,
  };
}

// Named one by one: among the usual buttons is one that sends the data to another server.
const BUTTONS = [["toImage", "zoom2d", "resetScale2d"]];

// A figure of the page. `build` returns [traces, layout], or null where there is nothing to show. It is drawn when it is
// in view and something has changed, at most once in `rest` ms: drawing must not eat the time of whoever reads.
export class Figure {
  constructor(box, build, rest = 1000, bar = true) {
    Object.assign(this, {box, build, rest, bar, dirty: false, visible: false, last: 0, timer: 0, drawn: 0});
    new IntersectionObserver(([entry]) => { this.visible = entry.isIntersecting; this.plan(); }, {rootMargin: "200px"}).observe(box);
    dark.addEventListener("change", () => this.touch());
  }

  touch() {
    this.dirty = true;
    this.plan();
  }

  plan() {
    if (!this.visible || !this.dirty || this.timer) return;
    const wait = Math.max(0, this.last + this.rest - performance.now());
    this.timer = setTimeout(() => this.draw(), wait);
  }

  async draw() {
    try {
      const library = await plotly();
      this.dirty = false;
      const start = performance.now(), made = this.build();
      if (made) {
        await library.react(this.box, made[0], layout(made[1]), {responsive: true, displaylogo: false, displayModeBar: this.bar && "hover", modeBarButtons: BUTTONS});
        this.drawn += 1;
        this.box.dataset.drawn = this.drawn;
        performance.clearMeasures("figure");
        performance.measure("figure", {start, detail: this.box.closest("section").id});
      }
    } finally {
      this.last = performance.now();
      this.timer = 0;
    }
    this.plan();
  }
}

// Cividis, made for colour-vision deficiencies: 0 is dark, 1 is bright.
const CIVIDIS = [[0, 32, 76], [0, 42, 102], [0, 52, 110], [39, 63, 108], [60, 74, 107], [76, 85, 107], [91, 95, 109], [104, 106, 112], [117, 117, 117], [131, 129, 120], [146, 140, 120], [161, 152, 118], [176, 165, 114], [192, 177, 109], [209, 191, 102], [225, 204, 92], [243, 219, 79], [255, 233, 69]];

export function cividis(share) {
  const place = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1), low = Math.floor(place), rest = place - low;
  const one = CIVIDIS[low], two = CIVIDIS[Math.min(low + 1, CIVIDIS.length - 1)];
  return `rgb(${one.map((part, index) => Math.round(part + rest * (two[index] - part))).join(",")})`;
}
