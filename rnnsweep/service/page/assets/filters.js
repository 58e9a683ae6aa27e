// The filter's words: numbers of trials (#7), comparisons (lr>0.01, family=lstm|gru), and anything that a line says.

import {cell} from "./common.js";

const COMPARISON = /^([^<>=!]+)(<=|>=|!=|=|<|>)(.*)$/;
const OPERATORS = {
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
};

// A column by its name, or by how it ends: `lr` is optimizer.lr.
export function columnNamed(columns, name) {
  const lower = name.toLowerCase();
  return columns.find(one => one.name.toLowerCase() === lower)
    ?? columns.find(one => one.name.toLowerCase().endsWith(`.${lower}`) || one.other === lower);
}

function equal(value, text) {
  return text.split("|").some(one => cell(value).toLowerCase() === one || (one !== "" && value !== null && Number(value) === Number(one)));
}

function compared(columns, [, name, operator, text]) {
  const column = columnNamed(columns, name);
  if (!column) return null;
  if (operator === "=") return row => equal(column.get(row), text);
  if (operator === "!=") return row => !equal(column.get(row), text);
  const bound = Number(text);
  if (text === "" || Number.isNaN(bound)) return null;
  return row => { const value = column.get(row); return value !== null && OPERATORS[operator](Number(value), bound); };
}

function holding(columns, word) {
  if (/^#\d+$/.test(word)) return row => row.n === Number(word.slice(1));
  return row => columns.some(column => column.text(row).toLowerCase().includes(word));
}

// What rows must be; `unknown` are comparisons of which nothing is known.
export function parse(columns, text) {
  const tests = [], unknown = [];
  for (const word of text.toLowerCase().split(/\s+/).filter(Boolean)) {
    const comparison = COMPARISON.exec(word);
    const test = comparison ? compared(columns, comparison) : holding(columns, word);
    if (test) tests.push(test); else unknown.push(word);
  }
  return {keep: row => tests.every(test => test(row)), unknown};
}
