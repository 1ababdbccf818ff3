// The form: rows that come and go, its values as one object, and faults at their fields.

export function el(tag, given = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
    else if (name === "text") found.textContent = value;
    else if (value === true) found.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) found.setAttribute(name, value);
  }
  found.append(...children.filter((child) => child !== null && child !== undefined));
  return found;
}

const byField = (field) => document.querySelector(`[data-field="${CSS.escape(field)}"]`);
const idOf = (field) => field.replaceAll(".", "-");

export function localNow() {
  const now = new Date();
  return new Date(now - now.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

export class Entries {
  constructor(settings, form, changed) {
    this.settings = settings;
    this.form = form;
    this.changed = changed;
    this.lists = { doses: form.querySelector("#doses"), samples: form.querySelector("#samples") };
    for (const button of form.querySelectorAll("[data-add]")) {
      button.addEventListener("click", () => this.add(button.dataset.add));
    }
    for (const radio of form.querySelectorAll("[name=clock]")) {
      radio.addEventListener("change", () => this.redraw());
    }
    form.addEventListener("input", (event) => {
      if (event.target.dataset.field !== "paste") changed(event.target);
    });
  }

  get dated() {
    return this.form.querySelector("[name=clock]:checked").value === "dates";
  }

  // What a row asks for: name, label, kind of entry.
  fields(kind) {
    const unit = this.settings.units;
    const when = this.dated
      ? ["when", "Date and time", { type: "datetime-local", wide: true, max: localNow() }]
      : ["when", `Time (${unit.time})`, { inputmode: "decimal", wide: true }];
    const codes = this.settings.codes
      .filter((code) => kind === "samples" || !code.of_samples)
      .map((code) => [code.name, code.words, { choices: code.choices, inputmode: "numeric" }]);
    const level = { inputmode: "decimal" };
    if (kind === "doses") {
      return [
        when,
        ["amount", `Amount (${unit.amount})`, level],
        ["hours", "Infusion (hours)", level],
        ["more", "Further doses", { inputmode: "numeric" }],
        ["every", `… every (${this.settings.time_words})`, level],
        ...codes,
      ];
    }
    return [
      when,
      ["value", `Measured (${unit.concentration})`, level],
      ["limit", `Limit, LLOQ (${unit.concentration})`, level],
      ["below", "below the limit", { type: "checkbox", wide: true }],
      ...codes,
    ];
  }

  row(kind, at, values) {
    const noun = kind === "doses" ? "Dose" : "Sample";
    const item = el("div", { class: "row", role: "group", "aria-label": `${noun} row ${at + 1}` });
    const remove = el("button", {
      type: "button", text: "Remove", "aria-label": `Remove ${noun.toLowerCase()} row ${at + 1}`,
      onclick: () => this.remove(kind, at),
    });
    item.append(el("div", { class: "head" }, el("span", { text: `${noun} row ${at + 1}` }), remove));
    for (const [name, words, more] of this.fields(kind)) {
      item.append(this.field(`${kind}.${at}.${name}`, words, more, values[name]));
    }
    const tick = item.querySelector("[type=checkbox]");
    if (tick) {
      const value = item.querySelector("[data-field$='.value']");
      const follow = () => { value.readOnly = tick.checked; };
      tick.addEventListener("change", follow);
      follow();
    }
    return item;
  }

  field(field, words, more, value) {
    const { wide, choices, ...given } = more;
    const id = idOf(field);
    if (given.type === "checkbox") {
      const box = el("input", { id, "data-field": field, ...given });
      box.checked = value === true || value === "true";
      return el("div", { class: "field wide" }, el("label", { class: "tick", for: id }, box, words));
    }
    const entry = choices?.length
      ? el("select", { id, "data-field": field }, ...["", ...choices].map((c) => el("option", { text: c })))
      : el("input", { id, "data-field": field, ...given });
    entry.value = value ?? "";
    return el("div", { class: wide ? "field wide" : "field" }, el("label", { for: id, text: words }), entry);
  }

  rows(kind) {
    return [...this.lists[kind].children].map((item) => {
      const found = {};
      for (const entry of item.querySelectorAll("[data-field]")) {
        const name = entry.dataset.field.split(".")[2];
        found[name] = entry.type === "checkbox" ? entry.checked : entry.value.trim();
      }
      return found;
    });
  }

  put(kind, rows) {
    this.lists[kind].replaceChildren(...rows.map((row, at) => this.row(kind, at, row)));
  }

  add(kind) {
    const rows = this.rows(kind);
    if (rows.length >= this.settings.limits[kind]) return;
    const last = rows.at(-1) ?? {};
    // What is mostly the same again; never a time or a concentration.
    const same = kind === "doses" ? ["amount", "hours"] : ["limit", ...this.settings.codes.map((c) => c.name)];
    const next = Object.fromEntries(same.map((name) => [name, last[name] ?? ""]));
    this.lists[kind].append(this.row(kind, rows.length, next));
    byField(`${kind}.${rows.length}.when`).focus();
    this.changed(null);
  }

  remove(kind, at) {
    this.put(kind, this.rows(kind).filter((_, k) => k !== at));
    this.form.querySelector(`[data-add=${kind}]`).focus();
    this.changed(null);
  }

  redraw() {
    for (const kind of ["doses", "samples"]) {
      this.put(kind, this.rows(kind).map((row) => ({ ...row, when: "" })));
    }
    this.changed(null);
  }

  get value() {
    const found = {
      clock: this.dated ? "dates" : "time", covariates: {},
      doses: this.rows("doses"), samples: this.rows("samples"),
    };
    for (const entry of this.form.querySelectorAll("[data-field]")) {
      const [first, second, third] = entry.dataset.field.split(".");
      if (first === "covariates") found.covariates[second] = entry.value.trim();
      else if (third === undefined && first !== "paste") found[first] = entry.value.trim();
    }
    return found;
  }

  set value(given) {
    const clock = given.clock === "time" ? "time" : "dates";
    this.form.querySelector(`[name=clock][value=${clock}]`).checked = true;
    for (const [name, value] of Object.entries(given)) {
      const entry = typeof value === "string" ? byField(name) : null;
      if (entry) entry.value = value;
    }
    for (const [name, value] of Object.entries(given.covariates ?? {})) {
      const entry = byField(`covariates.${name}`);
      if (entry) entry.value = value;
    }
    for (const kind of ["doses", "samples"]) this.put(kind, given[kind] ?? []);
  }

  clear(begin) {
    this.form.reset();
    this.value = { ...begin, patient: "", clock: "dates", covariates: {}, doses: [{}], samples: [] };
    for (const one of this.settings.covariates) byField(`covariates.${one.name}`).value = "";
    this.show([]);
  }

  // Faults in a list at the top, which takes the focus, and at each field.
  show(problems) {
    for (const old of this.form.querySelectorAll(".fault")) old.remove();
    for (const entry of this.form.querySelectorAll("[aria-invalid]")) {
      entry.removeAttribute("aria-invalid");
      if (entry.dataset.described) entry.setAttribute("aria-describedby", entry.dataset.described);
      else entry.removeAttribute("aria-describedby");
    }
    const place = this.form.querySelector("#problems");
    place.hidden = problems.length === 0;
    if (!problems.length) {
      place.replaceChildren();
      return;
    }
    const lines = problems.map(({ field, message }, k) => {
      const entry = field ? byField(field) ?? this.form.querySelector(`#${CSS.escape(idOf(field))}`) : null;
      if (entry?.matches("input, select, textarea")) this.mark(entry, message, `fault-${k}`);
      const target = entry?.id && entry.matches("input, select, textarea") ? entry : null;
      return el("li", {}, target ? el("a", {
        href: `#${target.id}`, text: message,
        onclick: (event) => { event.preventDefault(); target.focus(); },
      }) : message);
    });
    const count = problems.length === 1 ? "One thing has to be corrected" : `${problems.length} things have to be corrected`;
    place.replaceChildren(el("h2", { text: count }), el("ul", {}, ...lines));
    place.focus();
  }

  mark(entry, message, id) {
    if (!entry.hasAttribute("aria-invalid")) entry.dataset.described = entry.getAttribute("aria-describedby") ?? "";
    entry.setAttribute("aria-invalid", "true");
    entry.setAttribute("aria-describedby", [entry.dataset.described, id].join(" ").trim());
    // Without the place, which is the field's own.
    const short = message.split(": ").slice(1).join(": ") || message;
    entry.closest(".field").append(el("p", { class: "fault", id, text: short }));
  }
}
