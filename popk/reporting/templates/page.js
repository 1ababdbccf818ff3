"use strict";
/* Says what a point is, marks one patient in all figures, and enlarges a figure. The page is
   complete without it. */
(() => {
  const known = JSON.parse(document.getElementById("points").textContent);
  const tip = document.getElementById("tip");
  const finder = document.querySelector(".finder");
  const drawn = [];
  let picked = -1;

  for (const figure of document.querySelectorAll("figure")) {
    const own = known.figures[figure.dataset.name];
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.textContent = "Enlarge";
    button.addEventListener("click", () => enlarge(figure, !figure.classList.contains("large")));
    figure.append(button);
    if (!own) continue;
    const uses = [...figure.querySelectorAll(".points use")];
    if (uses.length !== own[0].length) continue;
    const points = uses.map((use, k) => ({ use, words: own[0][k], subject: own[1][k] }));
    drawn.push(...points);
    const drawing = figure.querySelector(".drawing");
    drawing.addEventListener("pointermove", (event) => show(nearest(points, event), event));
    drawing.addEventListener("pointerleave", () => { tip.hidden = true; });
    drawing.addEventListener("click", (event) => {
      const point = nearest(points, event);
      mark(point && point.subject !== picked ? point.subject : -1);
    });
  }

  function nearest(points, event) {
    let best = null, least = 14 * 14;
    for (const point of points) {
      const box = point.use.getBoundingClientRect();
      const dx = box.x + box.width / 2 - event.clientX, dy = box.y + box.height / 2 - event.clientY;
      const distance = dx * dx + dy * dy;
      if (distance < least) { least = distance; best = point; }
    }
    return best;
  }

  function show(point, event) {
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = known.words[point.words];
    const right = event.clientX + 16 + tip.offsetWidth > document.documentElement.clientWidth;
    tip.style.left = `${Math.max(4, event.clientX + (right ? -16 - tip.offsetWidth : 16))}px`;
    tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 10)}px`;
  }

  function mark(subject) {
    picked = subject;
    for (const point of drawn) {
      point.use.classList.toggle("picked", point.subject === subject);
      point.use.classList.toggle("faint", subject >= 0 && point.subject !== subject);
    }
    finder.querySelector("input").value = subject < 0 ? "" : known.subjects[subject];
  }

  function enlarge(figure, on) {
    for (const other of document.querySelectorAll("figure.large")) {
      other.classList.remove("large");
      other.querySelector(".enlarge").textContent = "Enlarge";
    }
    figure.classList.toggle("large", on);
    figure.querySelector(".enlarge").textContent = on ? "Close" : "Enlarge";
    document.body.classList.toggle("covered", on);
  }

  if (drawn.length) {
    const list = document.getElementById("subjects");
    for (const subject of known.subjects) list.append(new Option(subject));
    finder.hidden = false;
    finder.addEventListener("submit", (event) => event.preventDefault());
    finder.addEventListener("input", (event) => mark(known.subjects.indexOf(event.target.value.trim())));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const large = document.querySelector("figure.large");
    if (large) enlarge(large, false); else mark(-1);
  });
})();
