// What all pages share: the data in the page, numbers as the report writes them, and asking for news.

export const data = JSON.parse(document.getElementById("data").textContent);

// %.4g and a dash for what is missing, as `cell` in the report's page.
export function cell(value) {
  if (value === null || value === undefined) return "–";
  if (value === "Infinity" || value === "-Infinity") return "off";
  if (value === true || value === false) return value ? "True" : "False";
  if (typeof value !== "number") return typeof value === "string" ? value : JSON.stringify(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value).replace(/\B(?=(\d{3})+$)/g, " ");
  const [mantissa, power] = value.toExponential(3).split("e");
  const short = text => text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  if (power >= -4 && power < 4) return short(value.toFixed(3 - power));
  const digits = String(Math.abs(power)).padStart(2, "0");
  return `${short(mantissa)}e${power < 0 ? "-" : "+"}${digits}`;
}

// An element with attributes and children; text is set as text, never as HTML.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function badge(state) {
  return element("span", {class: "badge", "data-state": state}, state);
}

// Text that is set only where it differs: screen readers and selections are left alone.
export function say(target, text) {
  if (target && target.textContent !== String(text)) target.textContent = text;
}

const link = document.getElementById("link");

function linked(state, words) {
  link.dataset.state = state;
  say(link, words);
}

const seen = () => document.hidden
  ? new Promise(resolve => document.addEventListener("visibilitychange", resolve, {once: true}))
  : Promise.resolve();

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

// Ask for news while the page is looked at; `apply` is given each answer, and returns true to be asked again at once.
// An absent service is asked less and less often, up to every ten seconds.
export async function follow(address, apply, period = 1000) {
  let wait = period;
  for (;;) {
    await seen();
    try {
      const answer = await fetch(address(), {headers: {accept: "application/json"}});
      if (answer.status === 401 || answer.status === 403) return linked("away", "signed out: load the page anew");
      const news = await answer.json();
      if (!answer.ok) throw new Error(news.error ?? answer.statusText);
      wait = await apply(news) ? 0 : period;
      linked("live", "live");
    } catch (error) {
      wait = Math.min(10000, 2 * Math.max(wait, period));
      linked("away", error instanceof TypeError ? "the service does not answer" : error.message);
    }
    await pause(wait);
  }
}
