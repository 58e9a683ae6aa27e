// The table of trials: all rows are here, one page of them is in the document.

import {cell, data, element, say} from "./common.js";
import {parse} from "./filters.js";

const absent = value => value === null || value === undefined;

function compare(one, other) {
  if (absent(one) || absent(other)) return absent(one) - absent(other);
  const numbers = [Number(one), Number(other)];  // "Infinity" is one
  if (numbers.every(number => !Number.isNaN(number))) return numbers[0] - numbers[1];
  return String(one).localeCompare(String(other));
}

// The columns, in the order of the table's head.
export function columns() {
  const plain = (name, get, more = {}) => ({name, get, text: row => cell(get(row)), ...more});
  return [
    plain("trial", row => row.n, {text: row => `#${row.n}`}),
    plain("state", row => row.f, {fate: true}),
    plain("step", row => row.step),
    ...data.goals.map(({metric}, index) => plain(metric, row => (index ? row.vs[index] : row.v) ?? null, {
      other: index ? "" : "objective", text: row => (row.open && !index ? "> " : "") + cell(index ? row.vs[index] : row.v),
    })),
    ...data.keys.map((key, index) => plain(key, row => row.p[index])),
    plain("solved", row => row.at), plain("tries", row => row.tries), plain("reason", row => row.why, {words: true}),
  ];
}

// Complete trials, best first, by the rule of all tables; then the others by number.
export function byRank(one, other) {
  const complete = row => row.s === "COMPLETE" && row.v !== null;
  if (complete(one) !== complete(other)) return complete(other) - complete(one);
  if (!complete(one)) return one.n - other.n;
  const sign = data.goals[0].goal === "maximize" ? -1 : 1;
  return sign * (one.v - other.v) || (one.at ?? Infinity) - (other.at ?? Infinity) || one.n - other.n;
}

export class TrialTable {
  constructor(changed) {
    const byId = id => document.getElementById(id);
    Object.assign(this, {rows: new Map(), columns: columns(), page: 0, sorted: null, down: false, chosen: [], changed});
    Object.assign(this, {filter: byId("filter"), fate: byId("fate"), size: byId("size"), count: byId("count"), page_: byId("page")});
    this.table = byId("table");
    this.body = this.table.tBodies[0];
    this.filter.value = new URLSearchParams(location.search).get("filter") ?? "";
    for (const control of [this.filter, this.fate, this.size]) control.addEventListener("input", () => this.turn(0));
    byId("back").addEventListener("click", () => this.turn(this.page - 1));
    byId("forth").addEventListener("click", () => this.turn(this.page + 1));
    [this.back, this.forth] = [byId("back"), byId("forth")];
    this.heads = [...this.table.tHead.rows[0].cells];
    this.heads.forEach((head, index) => head.firstElementChild.addEventListener("click", () => this.sort(index)));
  }

  take(rows, whole) {
    if (whole) this.rows.clear();
    for (const row of rows) this.rows.set(row.n, row);
    if (rows.length || whole) this.choose();
  }

  // Ascending, descending, and back to the best first.
  sort(index) {
    if (this.sorted !== index) [this.sorted, this.down] = [index, false];
    else if (!this.down) this.down = true;
    else this.sorted = null;
    this.heads.forEach((head, place) => {
      if (place === this.sorted) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.turn(0);
  }

  turn(page) {
    this.page = page;
    this.choose();
  }

  filterBy(words) {
    this.filter.value = words;
    this.turn(0);
  }

  // Which trials are shown, in which order; figures follow.
  choose() {
    const {keep, unknown} = parse(this.columns, this.filter.value), fate = this.fate.value;
    this.chosen = [...this.rows.values()].filter(row => (!fate || row.f === fate) && keep(row));
    const column = this.columns[this.sorted];
    if (column) this.chosen.sort((a, b) => this.order(column, a, b)); else this.chosen.sort(byRank);
    this.filter.setAttribute("aria-invalid", unknown.length > 0);
    const all = this.rows.size, shown = this.chosen.length;
    say(this.count, unknown.length ? `Not understood: ${unknown.join(" ")}` : shown === all ? `${all} trials.` : `${shown} of ${all} trials.`);
    this.show();
    this.changed();
  }

  order(column, one, other) {
    const [a, b] = [column.get(one), column.get(other)];
    const either = absent(a) || absent(b);  // what is missing comes last in both directions
    return (either || !this.down ? 1 : -1) * compare(a, b) || one.n - other.n;
  }

  show() {
    const size = Number(this.size.value), pages = Math.max(1, Math.ceil(this.chosen.length / size));
    this.page = Math.min(Math.max(0, this.page), pages - 1);
    const lines = this.chosen.slice(this.page * size, (this.page + 1) * size);
    const focused = document.activeElement?.closest?.("#table tbody tr")?.dataset.trial;
    const old = [...this.body.rows];
    lines.forEach((row, index) => this.line(old[index] ?? this.body.insertRow(), row));
    old.slice(lines.length).forEach(line => line.remove());
    if (focused) this.body.querySelector(`tr[data-trial="${focused}"] a`)?.focus({preventScroll: true});
    say(this.page_, `Page ${this.page + 1} of ${pages}`);
    this.back.disabled = this.page === 0;
    this.forth.disabled = this.page === pages - 1;
  }

  // Cells are kept and only their text changes: no layout for what stays as it is.
  line(line, row) {
    if (line.dataset.trial !== String(row.n)) {
      line.dataset.trial = row.n;
      line.replaceChildren(element("th", {scope: "row", class: "pin"}, element("a", {href: `${data.place}/trials/${row.n}`}, `#${row.n}`)),
        ...this.columns.slice(1).map(column => element("td", column.words ? {class: "text"} : column.fate ? {class: "fate"} : {})));
    }
    this.columns.forEach((column, index) => {
      if (!index) return;
      const place = line.cells[index];
      say(place, column.words ? row.why : column.text(row));
      if (column.fate) place.dataset.fate = row.f;
    });
  }
}
