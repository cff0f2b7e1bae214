"use strict";
(() => {
  const { sample, dimensions, items } = JSON.parse(document.getElementById("data").textContent);
  const CHOICES = ["A", "tie", "B"];
  const PREFIX = `valuestrata ${sample} `;
  const at = (id) => document.getElementById(id);
  let name = "";
  let answers = {}; // by id of the pair, by dimension: [choice, seconds]
  let index = 0;
  let active = 0; // the dimension that keys choose for
  let view = "start";
  let changed = false; // answers that no browser and no file keeps

  // the browser's store; where it has none, answers live as long as the tab
  function kept() {
    try {
      return Object.keys(localStorage).filter((k) => k.startsWith(PREFIX)).map((k) => k.slice(PREFIX.length));
    } catch { return []; }
  }
  function load(who) {
    try { return JSON.parse(localStorage.getItem(PREFIX + who)) || {}; } catch { return {}; }
  }
  function save() {
    try {
      localStorage.setItem(PREFIX + name, JSON.stringify(answers));
    } catch {
      changed = true;
      at("unsaved").hidden = false;
    }
  }

  // seconds that the pair was in sight since the last choice
  let since = null;
  let spent = 0;
  function tick(runs) {
    if (since !== null) spent += performance.now() - since;
    since = runs ? performance.now() : null;
  }
  function lap() {
    tick(view === "pair" && !document.hidden);
    const seconds = spent / 1000;
    spent = 0;
    return seconds;
  }

  const of = (item) => answers[item.id] || {};
  const isDone = (item, given = answers) => dimensions.every((d) => (given[item.id] || {})[d.name]);
  const finished = (given = answers) => items.filter((item) => isDone(item, given)).length;

  function show(next) {
    view = next;
    for (const id of ["start", "pair", "end"]) at(id).hidden = id !== next;
    at("bar").hidden = next === "start";
    if (next === "start") showKept();
    if (next === "pair") showPair();
    if (next === "end") showEnd();
    lap();
    scrollTo(0, 0);
  }

  function showBar() {
    const pair = view === "pair" ? `Pair ${index + 1} of ${items.length}` : "All pairs";
    at("where").textContent = `${pair} · ${finished()} finished`;
    at("progress").value = finished();
  }

  function showKept() {
    const names = new Set(name ? [name, ...kept()] : kept());
    at("saved").replaceChildren(...[...names].map((who) => {
      const given = who === name ? answers : load(who);
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `Go on as ${who} (${finished(given)} of ${items.length})`;
      button.addEventListener("click", () => start(who));
      return button;
    }));
  }

  function showPair() {
    const item = items[index];
    at("persona").textContent = item.persona;
    at("prompt").textContent = item.prompt;
    at("survey").hidden = !item.survey;
    at("shares").textContent = item.survey || "";
    at("text-a").textContent = item.a;
    at("text-b").textContent = item.b;
    at("back").disabled = index === 0;
    active = Math.max(0, dimensions.findIndex((d) => !of(item)[d.name]));
    showChoices();
  }

  function showChoices() {
    const given = of(items[index]);
    dimensions.forEach((dimension, d) => {
      const field = at(`point-${d}`);
      field.classList.toggle("active", d === active);
      for (const button of field.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", (given[dimension.name] || [])[0] === button.value);
      }
    });
    showBar();
  }

  function showEnd() {
    const open = items.length - finished();
    at("count").textContent = open
      ? `${finished()} of ${items.length} pairs are finished, ${open} are open.`
      : `All ${items.length} pairs are finished. Thank you.`;
    at("open").hidden = open === 0;
    showBar();
  }

  function choose(d, choice) {
    const item = items[index];
    const dimension = dimensions[d].name;
    const before = (of(item)[dimension] || [null, 0])[1];
    answers[item.id] = { ...of(item), [dimension]: [choice, before + lap()] };
    save();
    const open = dimensions.findIndex((each) => !of(item)[each.name]);
    active = open < 0 ? d : open;
    showChoices();
  }

  function go(step) {
    if (view === "end") {
      if (step < 0) show("pair");
    } else if (index + step === items.length) {
      show("end");
    } else if (index + step >= 0) {
      index += step;
      show("pair");
    }
  }

  function toOpen() {
    const open = items.findIndex((item) => !isDone(item));
    index = open < 0 ? items.length - 1 : open;
    show(open < 0 ? "end" : "pair");
  }

  function start(who) {
    if (who !== name) answers = load(who);
    name = who;
    save();
    toOpen();
  }

  function csv() {
    const quoted = (value) => /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
    const rows = [["sample_id", "annotator", "dimension", "choice", "seconds"]];
    for (const item of items) {
      for (const dimension of dimensions) {
        const given = of(item)[dimension.name];
        if (given) rows.push([item.id, name, dimension.name, given[0], given[1].toFixed(1)]);
      }
    }
    return rows.map((row) => row.map(quoted).join(",") + "\n").join("");
  }

  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = `${sample}-${name.replaceAll(" ", "_")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    changed = false;
  }

  // what is on the page once
  dimensions.forEach((dimension, d) => {
    const field = document.createElement("fieldset");
    field.id = `point-${d}`;
    const legend = document.createElement("legend");
    const title = document.createElement("b");
    title.textContent = dimension.name;
    const criterion = document.createElement("span");
    criterion.textContent = ` ${dimension.criterion}`;
    legend.append(title, criterion);
    const choices = document.createElement("div");
    choices.className = "choices";
    for (const choice of CHOICES) {
      const button = document.createElement("button");
      button.type = "button";
      button.value = choice;
      button.textContent = choice;
      button.addEventListener("click", () => choose(d, choice));
      choices.append(button);
    }
    field.append(legend, choices);
    at("points").append(field);
  });

  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    start(at("name").value.trim());
  });
  at("help").addEventListener("click", () => show("start"));
  at("back").addEventListener("click", () => go(-1));
  at("review").addEventListener("click", () => go(-1));
  at("next").addEventListener("click", () => go(1));
  at("open").addEventListener("click", toOpen);
  for (const button of document.querySelectorAll(".download")) button.addEventListener("click", download);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (view === "start" || event.target.matches("input")) return;
    const key = event.key.toLowerCase();
    const choice = { a: "A", t: "tie", b: "B" }[key];
    if (key === "arrowright") go(1);
    else if (key === "arrowleft") go(-1);
    else if (view !== "pair") return;
    else if (choice) choose(active, choice);
    else if (/^[1-9]$/.test(key) && Number(key) <= dimensions.length) {
      active = Number(key) - 1;
      showChoices();
    } else return;
    event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => tick(view === "pair" && !document.hidden));
  addEventListener("storage", (event) => { // the same annotator in another tab
    if (view === "start") showKept();
    else if (event.key === PREFIX + name) {
      answers = load(name);
      if (view === "pair") showChoices();
      else showEnd();
    }
  });
  addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
  show("start");
})();
