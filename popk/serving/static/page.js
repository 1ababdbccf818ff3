// The page: it holds what is entered, asks the server, and shows what it says.

import { redraw, show } from "./answer.js";
import { Entries, localNow } from "./entries.js";
import { Kept } from "./kept.js";
import { judge, steps } from "./sliders.js";

const $ = (id) => document.getElementById(id);
const settings = JSON.parse($("settings").textContent);
const kept = new Kept(settings.key);
const PAUSE = 300; // ms after a slider rests
const AGAIN = 1500; // ms before a busy server is asked once more

let answer = null; // the last one
let asked = null; // the entries that it answers, as text
let before = null; // the one before, of the same patient
let running = null; // what stops the request that runs
let timer = 0;

const entries = new Entries(settings, $("entries"), changed);
const sliders = [...document.querySelectorAll("input[type=range]")];

function changed(entry) {
  const value = entries.value;
  kept.keep({ value, answered: answer !== null });
  const slider = sliders.find((one) => one.dataset.for === entry?.id);
  if (slider) slider.value = entry.value;
  if (answer) stale(JSON.stringify(value) !== asked);
}

function stale(is) {
  $("stale").hidden = !is;
  $("answer").classList.toggle("stale", is);
  for (const button of $("outputs").querySelectorAll("button")) button.disabled = is;
  if (is) say("");
}

function say(text, { heard = false } = {}) {
  $("said").classList.toggle("heard", heard);
  $("said").textContent = text;
}

const tooLong = (text) => new TextEncoder().encode(text).length > settings.limits.bytes;

function fault(field) {
  const most = `${settings.limits.doses} rows of doses and ${settings.limits.samples} of samples`;
  const size = `${settings.limits.bytes / 1024} kB`;
  return { field, message: `Too long: more than ${size} were entered; one patient has at most ${most} here. Nothing was taken.` };
}

// A browser would take minutes to show a million rows.
function refuseLong(event) {
  const given = event.clipboardData ?? event.dataTransfer;
  if (!tooLong(given?.getData("text") ?? "")) return;
  event.preventDefault();
  entries.show([fault("paste")]);
}

async function post(path, value) {
  const body = JSON.stringify(value);
  if (tooLong(body)) return { problems: [fault(value.text === undefined ? "" : "paste")] };
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  for (let tries = 0; ; tries += 1) {
    const response = await fetch(path, {
      method: "POST", body, signal, headers: { "content-type": "application/json" },
    });
    if (response.status !== 503 || tries > 2) return response.json();
    await new Promise((resolve) => { setTimeout(resolve, AGAIN * (1 + Math.random())); });
  }
}

async function reached(path, value) {
  try {
    return await post(path, value);
  } catch (error) {
    if (error.name === "AbortError") return null;
    return { problems: [{ field: "", message: "popk does not answer. Is popk serve still running? What was entered is still here." }] };
  }
}

async function advise({ quiet = false } = {}) {
  clearTimeout(timer);
  const value = entries.value;
  $("answer").setAttribute("aria-busy", "true");
  if (!quiet) say("Computing …");
  const found = await reached("/api/answer", { ...value, now: localNow() });
  if (found === null) return;
  $("answer").setAttribute("aria-busy", "false");
  if (found.problems) {
    say("");
    entries.show(found.problems);
    if (answer) stale(true);
    return;
  }
  entries.show([]);
  if (!answer || asked !== JSON.stringify(value)) remember(value);
  answer = found;
  asked = JSON.stringify(value);
  kept.keep({ value, answered: true });
  $("answer-title").textContent = `Answer: patient ${value.patient}`;
  show($("shown"), answer, { before, perDay: settings.per_day });
  redrawn();
  readout(null);
  stale(JSON.stringify(entries.value) !== asked);
  $("outputs").hidden = false;
  for (const hidden of $("outputs").querySelectorAll("[name=entries]")) {
    hidden.value = JSON.stringify({ ...value, now: localNow() });
  }
  say(`${answer.label}. ${answer.title}. ${answer.sentences[0]}`, { heard: true });
  if (!quiet) {
    $("answer").focus({ preventScroll: true });
    $("answer").scrollIntoView({ block: "start" });
  }
}

// The answer that is replaced, if it is of the same patient with other records.
function remember(value) {
  if (!answer) return;
  const old = JSON.parse(asked);
  const records = ({ patient, doses, samples }) => JSON.stringify([patient, doses, samples]);
  before = null; // with another question it could not be compared
  if (old.patient === value.patient && records(old) !== records(value)) {
    const count = old.samples.length;
    before = {
      by_week: answer.probability_by_week,
      words: `Before the last change, with ${count} sample${count === 1 ? "" : "s"}: ${answer.label.toLowerCase()}, ${answer.title[0].toLowerCase()}${answer.title.slice(1)}.`,
    };
  }
}

function redrawn(judged = null) {
  if (!answer) return;
  const own = judged ?? (answer.state === "withheld" ? null : {
    target: answer.target, asked: answer.asked, longest: answer.longest, word: answer.not_final ? "not final" : "advised",
    probability: answer.probability_by_week.probability,
  });
  redraw(answer, own, { before, perDay: settings.per_day });
}

function readout(judged) {
  const place = $("readout");
  place.hidden = judged === null;
  if (judged === null) return;
  const goal = `${judged.target} ${settings.units.concentration} with ${Number((100 * judged.asked).toPrecision(4))} %`;
  place.textContent = judged.longest === null
    ? `${goal}: no candidate interval holds it (provisional).`
    : `${goal}: up to ${judged.longest} weeks (provisional).`;
}

function slid(slider) {
  const fresh = answer && $("stale").hidden;
  const entry = $(slider.dataset.for);
  entry.value = slider.value;
  changed(entry);
  if (!answer || !(fresh || slider.dataset.going)) return;
  slider.dataset.going = "yes";
  const target = Number($("target").value), share = Number($("probability").value) / 100;
  if (answer.state !== "withheld" && target > 0 && share > 0) {
    const judged = { ...judge(answer, target, share), provisional: true, word: "provisional" };
    readout(judged);
    redrawn(judged);
  }
  // The entries are changed, but an answer to them is on its way.
  $("stale").hidden = true;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    await advise({ quiet: true });
    delete slider.dataset.going;
  }, PAUSE);
}

async function take() {
  const found = await reached("/api/read", { text: $("paste").value, subject: $("paste-id").value });
  if (found === null) return;
  if (found.problems) {
    entries.show(found.problems);
    return;
  }
  const { target, probability, weeks, seed, patient } = entries.value;
  entries.value = { target, probability, weeks, seed, ...found, patient: found.patient || patient };
  entries.show([]);
  $("paste").value = "";
  $("paste-part").open = false;
  changed(null);
  await advise();
}

function clear() {
  running?.abort();
  clearTimeout(timer);
  [answer, asked, before] = [null, null, null];
  entries.clear(settings.begin);
  for (const id of ["paste", "paste-id"]) $(id).value = "";
  kept.forget();
  begin();
  $("answer-title").textContent = "Answer";
  $("shown").replaceChildren();
  $("outputs").hidden = true;
  for (const hidden of $("outputs").querySelectorAll("[name=entries]")) hidden.value = "";
  $("answer").setAttribute("aria-busy", "false");
  readout(null);
  stale(false);
  say("Everything was cleared.");
  $("patient").focus();
}

function begin() {
  for (const slider of sliders) slider.value = $(slider.dataset.for).value || slider.value;
}

steps($("target-slider"), settings.highest_target);
for (const slider of sliders) slider.addEventListener("input", (event) => { event.stopPropagation(); slid(slider); });
$("entries").addEventListener("submit", (event) => { event.preventDefault(); advise(); });
$("take").addEventListener("click", take);
for (const kind of ["paste", "drop"]) $("paste").addEventListener(kind, refuseLong);
$("clear").addEventListener("click", clear);
$("logout")?.addEventListener("submit", () => kept.forget());
$("kept").textContent = kept.possible
  ? "What you enter stays in this tab over a reload, encrypted under a key that only the running popk serve has. “Clear everything” or closing the tab takes it away; popk itself keeps nothing."
  : "Nothing that you enter is kept: a reload of the page loses it.";
if (!kept.possible) {
  window.addEventListener("beforeunload", (event) => {
    if (entries.value.patient || entries.rows("doses").some((row) => row.amount)) event.preventDefault();
  });
}
let width = 0;
new ResizeObserver(([entry]) => {
  if (Math.abs(entry.contentRect.width - width) < 1) return;
  width = entry.contentRect.width;
  redrawn();
}).observe($("answer"));

entries.clear(settings.begin);
const held = await kept.restored();
if (held) entries.value = held.value;
begin();
if (held?.answered) await advise();
document.documentElement.dataset.ready = "yes";
