// Two drawings as SVG: concentrations over time, and the probability of each interval.

const NS = "http://www.w3.org/2000/svg";
const DAY = 86400000;

function draw(tag, given = {}, ...children) {
  const found = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "text") found.textContent = value;
    else found.setAttribute(name, typeof value === "number" ? Number(value.toFixed(2)) : value);
  }
  found.append(...children);
  return found;
}

function frame(width, height, words) {
  const box = { left: 46, right: width - 12, top: 26, bottom: height - 40 };
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
  return { svg, box };
}

function axes(svg, box, x, y, names) {
  const group = draw("g", { class: "axis", "aria-hidden": "true" });
  for (const { at, text } of y) {
    svg.append(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at }));
    group.append(draw("text", { x: box.left - 6, y: at + 4, "text-anchor": "end", text }));
  }
  for (const { at, text } of x) {
    group.append(draw("line", { x1: at, x2: at, y1: box.bottom, y2: box.bottom + 4 }));
    const end = at > box.right - 26 ? "end" : at < box.left + 20 ? "start" : "middle";
    group.append(draw("text", { x: at, y: box.bottom + 16, "text-anchor": end, text }));
  }
  group.append(draw("path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
  group.append(draw("text", { x: (box.left + box.right) / 2, y: box.bottom + 33, "text-anchor": "middle", text: names.x }));
  group.append(draw("text", { x: 2, y: 11, text: names.y }));
  svg.append(group);
}

const path = (points) => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const step of [1, 2, 5]) {
      const value = step * 10 ** power;
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found;
}

function timeTicks(low, high, most, answer, perDay) {
  const span = high - low;
  const steps = [1, 2, 5].flatMap((s) => [0.01, 0.1, 1, 10, 100, 1000].map((p) => s * p)).concat([7, 14, 28, 56, 84, 168]);
  const step = steps.map((s) => (answer.origin ? Math.max(s, 1) * perDay : s)).sort((a, b) => a - b).find((s) => span / s <= most) ?? span;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) found.push(value);
  return found;
}

export function dateOf(answer, time, perDay) {
  if (!answer.origin) return "";
  // Read as UTC, and shown as such: clock times without a zone.
  const moment = new Date(Date.parse(`${answer.origin}Z`) + (time / perDay) * DAY);
  return moment.toISOString().slice(0, 10);
}

export function concentrations(answer, width, perDay) {
  const height = Math.max(230, Math.min(330, width * 0.5));
  const { svg, box } = frame(width, height, answer.curve_words);
  const { curve, samples, given, target, units } = answer;
  const seen = samples.map((one) => one.value);
  const times = [...samples.map((one) => one.time), ...(curve ? curve.time : given)];
  const low = Math.min(...times), high = Math.max(...times, low + 1);
  const bottom = 0.5 * Math.min(target, ...seen);
  const top = 1.3 * Math.max(target, ...seen, ...(curve ? curve.high.filter((v) => v !== null) : []));
  const x = (t) => box.left + ((t - low) / (high - low)) * (box.right - box.left);
  const y = (c) => box.bottom - (Math.log(Math.max(c, bottom) / bottom) / Math.log(top / bottom)) * (box.bottom - box.top);
  const ticks = timeTicks(low, high, Math.floor((box.right - box.left) / (answer.origin ? 100 : 60)), answer, perDay);
  const name = answer.origin ? "Date" : `Time (${units.time})`;
  axes(svg, box,
    ticks.map((t) => ({ at: x(t), text: answer.origin ? dateOf(answer, t, perDay) : String(Number(t.toPrecision(6))) })),
    logTicks(bottom, top).map((c) => ({ at: y(c), text: String(Number(c.toPrecision(3))) })),
    { x: name, y: `Concentration (${units.concentration})` });
  if (curve) {
    const points = curve.time.map((t, k) => [t, curve.low[k], curve.median[k], curve.high[k]]).filter((p) => !p.includes(null));
    const up = points.map(([t, , , h]) => [x(t), y(h)]), down = points.map(([t, l]) => [x(t), y(l)]).reverse();
    svg.append(draw("path", { class: "band", d: `${path([...up, ...down])}Z` }));
    svg.append(draw("path", { class: "median", d: path(points.map(([t, , m]) => [x(t), y(m)])) }));
  }
  for (const time of given.filter((t) => t >= low && t <= high)) {
    svg.append(draw("line", { class: "mark", x1: x(time), x2: x(time), y1: box.top - 4, y2: box.top + 4 }));
  }
  svg.append(draw("line", { class: "level", x1: box.left, x2: box.right, y1: y(target), y2: y(target) }));
  svg.append(draw("text", { class: "tag", x: box.right, y: y(target) - 5, "text-anchor": "end", text: `target ${target} ${units.concentration}` }));
  for (const { time, value, below } of samples) {
    const [px, py] = [x(time), y(value)];
    svg.append(below
      ? draw("path", { class: "mark open", d: `M${px - 5} ${py - 4}h10l-5 9z` })
      : draw("circle", { class: "mark", cx: px, cy: py, r: 4 }));
  }
  return svg;
}

export function probabilities(answer, judged, before, width) {
  const height = Math.max(220, Math.min(300, width * 0.45));
  const { weeks, error } = answer.probability_by_week;
  const listed = weeks.map((w, k) => `${w} weeks ${(100 * judged.probability[k]).toFixed(1)} %`).join(", ");
  const { svg, box } = frame(width, height, `Probability of a trough of at least ${judged.target} by interval: ${listed}.`);
  const [low, high] = [weeks[0], weeks.at(-1)];
  const pad = weeks.length > 1 ? 24 : (box.right - box.left) / 2;
  const x = (w) => box.left + pad + ((w - low) / (high - low || 1)) * (box.right - box.left - 2 * pad);
  const y = (p) => box.bottom - p * (box.bottom - box.top);
  const skip = Math.ceil(weeks.length / Math.floor((box.right - box.left) / 34));
  axes(svg, box,
    weeks.filter((_, k) => k % skip === 0).map((w) => ({ at: x(w), text: String(w) })),
    [0, 0.25, 0.5, 0.75, 1].map((p) => ({ at: y(p), text: `${100 * p}` })),
    { x: "Interval after the last dose (weeks)", y: `P(trough ≥ ${judged.target} ${answer.units.concentration}), %` });
  if (before) {
    const points = before.weeks.map((w, k) => [w, before.probability[k]]).filter(([w]) => w >= low && w <= high);
    svg.append(draw("path", { class: "before", d: path(points.map(([w, p]) => [x(w), y(p)])) }));
  }
  svg.append(draw("line", { class: "level", x1: box.left, x2: box.right, y1: y(judged.asked), y2: y(judged.asked) }));
  svg.append(draw("text", { class: "tag", x: box.left + 4, y: y(judged.asked) + 14, text: `${Number((100 * judged.asked).toPrecision(4))} % asked for` }));
  svg.append(draw("path", { class: "median", d: path(weeks.map((w, k) => [x(w), y(judged.probability[k])])) }));
  weeks.forEach((w, k) => {
    const p = judged.probability[k];
    if (!judged.provisional && error[k] !== null) {
      const [a, b] = [Math.min(1, p + 2 * error[k]), Math.max(0, p - 2 * error[k])];
      svg.append(draw("line", { class: "bar", x1: x(w), x2: x(w), y1: y(a), y2: y(b) }));
    }
    svg.append(draw("circle", { class: p >= judged.asked ? "mark" : "mark open", cx: x(w), cy: y(p), r: 4.5 }));
  });
  if (judged.longest !== null) {
    const at = x(judged.longest);
    svg.append(draw("line", { class: "chosen", x1: at, x2: at, y1: box.top, y2: box.bottom }));
    const end = at > box.right - 40 ? "end" : "start";
    svg.append(draw("text", { class: "tag", x: at + (end === "end" ? -6 : 6), y: box.bottom - 8, "text-anchor": end, text: judged.word }));
  }
  return svg;
}
