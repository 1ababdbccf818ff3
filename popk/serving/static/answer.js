// The answer as it is read: the advice first, then what speaks against it, figures, what it rests on.

import { concentrations, dateOf, probabilities } from "./chart.js";
import { el } from "./entries.js";

function table({ title, headers, rows, marked, note }) {
  const body = rows.map((cells, k) => el("tr", { class: marked?.[k] ? "advised" : null },
    el("th", { scope: "row", text: cells[0] }), ...cells.slice(1).map((text) => el("td", { text }))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    el("table", {}, el("caption", { text: title }),
      el("thead", {}, el("tr", {}, ...headers.map((text) => el("th", { scope: "col", text })))),
      el("tbody", {}, ...body)),
    note ? el("p", { class: "note", text: note }) : null);
}

const lines = (texts) => el("ul", {}, ...texts.map((text) => el("li", { text })));
const shown = (value) => (value === null ? "–" : String(Number(value.toPrecision(3))));

function advice(answer) {
  const kind = answer.state === "withheld" ? "withheld" : answer.not_final ? "unfinal"
    : answer.state || (answer.longest === null ? "none" : "");
  return el("div", { class: `advice ${kind}` },
    el("h3", {}, el("span", { class: "label", text: answer.label }), " ", answer.title),
    ...answer.sentences.map((text) => el("p", { text })),
    el("p", { class: "note", text: answer.basis }));
}

function against(answer) {
  const words = { withheld: "WITHHELD", widened: "WIDENED", note: "NOTE" };
  const withheld = answer.state === "withheld";
  // What withholds stands in the advice itself.
  const listed = answer.findings.filter((one) => !withheld || one.severity !== "withheld");
  return el("section", {},
    el("h3", { text: withheld ? "What else was found" : "What speaks against it" }),
    ...listed.map((one) => el("p", { class: `finding ${one.severity}` },
      el("strong", { text: `${words[one.severity]}, ${one.name}: ` }), one.sentence)),
    el("p", { class: "note", text: answer.state_note }));
}

function behindCurve(answer, perDay) {
  const { curve, units } = answer;
  const every = Math.max(1, Math.round(curve.time.length / 30));
  const rows = curve.time.map((t, k) => [String(Number(t.toPrecision(5))), dateOf(answer, t, perDay), shown(curve.median[k]), shown(curve.low[k]), shown(curve.high[k])])
    .filter((_, k) => k % every === 0).map((row) => (answer.origin ? row : row.filter((_, k) => k !== 1)));
  const headers = [`Time (${units.time})`, "Date", `Median (${units.concentration})`, `5 % (${units.concentration})`, `95 % (${units.concentration})`];
  return el("details", {}, el("summary", { text: "The curve as a table" }),
    table({ title: "Predicted concentrations", headers: answer.origin ? headers : headers.filter((_, k) => k !== 1), rows }));
}

function figure(id, caption, ...rest) {
  return el("figure", { id }, el("div", { class: "drawing" }), el("figcaption", { text: caption }), ...rest);
}

function data(answer) {
  return el("section", {},
    el("h3", { text: "Data" }),
    answer.covariates ? el("p", { text: `${answer.covariates}.` }) : null,
    lines(answer.doses),
    answer.sample_table ? table({ ...answer.sample_table, title: "Samples as read" }) : el("p", { text: "No samples." }));
}

function origin(answer) {
  return el("footer", { class: "small" },
    el("p", { class: "note", text: answer.provenance }),
    el("p", {}, el("strong", { text: answer.statement })));
}

export function show(place, answer, { before, perDay }) {
  const usable = answer.state !== "withheld";
  const said = before?.words ? el("p", { class: "note", id: "before", text: before.words }) : null;
  place.replaceChildren(
    ...[answer.not_final ? el("p", { class: "alarm", text: answer.not_final }) : null,
      ...answer.notes.map((text) => el("p", { class: "alarm", text })),
      advice(answer), said, against(answer),
      usable ? figure("interval-figure", `Full dots reach the probability asked for, open ones do not; bars are two Monte Carlo errors; the broken line across is the probability asked for.${before?.by_week ? " The grey broken line is the answer before." : ""}`) : null,
      usable ? table(answer.candidates) : null,
      figure("curve-figure", usable
        ? "Dots are samples (open triangles: below the limit of quantification), strokes above are doses; line and band are this patient's median and 90 % of the true concentration, without a further dose."
        : "Samples and doses. The predicted curve is left out, as the advice is withheld.",
      usable ? behindCurve(answer, perDay) : null),
      data(answer),
      el("details", {}, el("summary", { text: "Assumptions, model and fit" }),
        el("h3", { text: "Assumptions" }), lines(answer.assumptions),
        el("h3", { text: "Model" }), lines(answer.model),
        el("h3", { text: "Fit" }), lines(answer.verdict.split("\n"))),
      origin(answer)].filter(Boolean));
}

// The drawings are as wide as their place.
export function redraw(answer, judged, { before, perDay }) {
  const drawn = [["curve-figure", (width) => concentrations(answer, width, perDay)]];
  if (answer.state !== "withheld") {
    drawn.push(["interval-figure", (width) => probabilities(answer, judged, before?.by_week, width)]);
  }
  for (const [id, made] of drawn) {
    const place = document.querySelector(`#${id} .drawing`);
    place?.replaceChildren(made(Math.max(260, Math.min(760, place.clientWidth))));
  }
}
