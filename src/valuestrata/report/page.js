"use strict";
// Tables that sort and filter, figures, and the page as it prints. No request leaves the page.
const at = (id) => document.getElementById(id);

/** An element with attributes and children; text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

/** The text of a part of the page that was packed. */
async function unpack(name) {
  const bytes = Uint8Array.from(atob(at(`data-${name}`).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// tables ----------------------------------------------------------------------------------------

const MANY_ROWS = 8; // from here on a table has a filter
const MANY_COLUMNS = 8; // and shows the first columns alone at first

/** What a cell sorts by: its number where it has one, else its text; null where it is empty. */
function sortKey(cell) {
  if (cell.dataset.key) return Number(cell.dataset.key);
  const text = (cell.querySelector("b") || cell.firstChild || cell).textContent.trim();
  if (text === "–" || text === "") return null;
  const number = Number(text.replace(/\u2212/g, "-").replace(/[,%<+]|p =/g, "").split(/\s/)[0]);
  return Number.isNaN(number) ? text : number;
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null); // empty ones always last
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortBy(table, index) {
  const heads = [...table.tHead.rows[0].cells];
  const isFirst = typeof sortKey(table.tBodies[0].rows[0]?.cells[index] ?? heads[index]) === "number";
  const now = heads[index].ariaSort;
  const next = now ? (now === "ascending" ? "descending" : "ascending") : isFirst ? "descending" : "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[index].setAttribute("aria-sort", next);
  const sign = next === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [sortKey(row.cells[index]), row]);
  rows.sort((a, b) => compare(a[0], b[0], sign));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function filterRows(table, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !wanted.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  return shown;
}

function equip(box) {
  const table = box.querySelector("table");
  const tools = make("div", { className: "tools screen" });
  box.querySelector(".head").append(tools);
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    const button = make("button", { type: "button", onclick: () => sortBy(table, index) });
    button.append(...head.childNodes);
    head.append(button);
  });
  const rows = table.tBodies[0].rows.length;
  if (rows >= MANY_ROWS) {
    const counted = make("span", { textContent: `${rows} rows` });
    const input = make("input", { type: "search", placeholder: "filter rows", ariaLabel: "Filter rows" });
    input.oninput = () => { counted.textContent = `${filterRows(table, input.value)} of ${rows} rows`; };
    tools.append(input, counted);
  }
  const columns = table.tHead.rows[0].cells.length;
  if (columns > MANY_COLUMNS) {
    for (const row of table.rows) [...row.cells].slice(MANY_COLUMNS).forEach((cell) => cell.classList.add("more"));
    const button = make("button", { type: "button", className: "button" });
    const show = (narrow) => {
      table.classList.toggle("narrow", narrow);
      button.textContent = narrow ? `all ${columns} columns` : `the first ${MANY_COLUMNS} columns`;
    };
    button.onclick = () => show(!table.classList.contains("narrow"));
    show(true);
    tools.append(button);
  }
}

/** Where a second column of row names sticks: right of the first. */
function placeSecondNames(table) {
  const first = table.tHead.rows[0].cells[0].offsetWidth;
  for (const row of table.rows) {
    const names = [...row.cells].filter((cell) => cell.matches("tbody th, th.row"));
    if (names[1]) names[1].style.left = `${first}px`;
  }
}

// print -----------------------------------------------------------------------------------------

const PAPER = 1030; // pixels of A4, the long side, between its margins
const SHRINK = 0.82; // a column in print against one on the screen

/** Replace a table that is wider than the paper by several, each with the row names. */
function splitTable(table) {
  const heads = [...table.tHead.rows[0].cells];
  Object.assign(table.style, { minWidth: "0", width: "max-content" }); // as wide as its content
  const widths = heads.map((head) => head.offsetWidth * SHRINK);
  Object.assign(table.style, { minWidth: "", width: "" });
  const names = heads.filter((head) => head.classList.contains("row")).length;
  const fixed = widths.slice(0, names).reduce((a, b) => a + b, 0);
  const parts = [[]];
  let used = fixed;
  widths.forEach((width, i) => {
    if (i < names) return;
    if (used + width > PAPER && parts.at(-1).length) { parts.push([]); used = fixed; }
    parts.at(-1).push(i);
    used += width;
  });
  if (parts.length < 2) return;
  const copies = parts.map((part) => {
    const copy = table.cloneNode(true);
    for (const row of copy.rows) {
      [...row.cells].forEach((cell, i) => { if (i >= names && !part.includes(i)) cell.remove(); });
    }
    copy.style.marginTop = "8pt";
    return copy;
  });
  copies.forEach((copy) => copy.classList.add("printed"));
  table.after(...copies);
  table.hidden = true;
}

addEventListener("beforeprint", () => {
  for (const table of document.querySelectorAll(".table table")) {
    table.dataset.narrow = table.classList.contains("narrow") ? "1" : "";
    table.classList.remove("narrow");
    if (table.offsetWidth) splitTable(table);
  }
});
addEventListener("afterprint", () => {
  document.querySelectorAll("table.printed").forEach((copy) => copy.remove());
  for (const table of document.querySelectorAll(".table table")) {
    table.hidden = false;
    table.classList.toggle("narrow", table.dataset.narrow === "1");
  }
});

// folded parts: what is open is printed
at("unfold").onclick = () => {
  const folded = document.querySelectorAll("details");
  const open = ![...folded].every((details) => details.open);
  folded.forEach((details) => { details.open = open; });
  at("unfold").textContent = open ? "fold all" : "unfold all";
};

// figures ---------------------------------------------------------------------------------------

const LETTER = 7.5; // pixels of a letter in a title, at most on average
const EDGE = 5; // pixels around a panel
const MOST_DRAWS = 3; // of a panel whose text is cut off

/** A title in lines that are no wider than a plot. */
function inLines(title, width) {
  const lines = [""];
  for (const word of title.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (lines.at(-1) && longer.length * LETTER > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

/** A panel whose text was cut off, once more: long titles in lines, room right of the marks; null where all fits. */
function fitted(spec, view) {
  const plot = view.width();
  const isLong = (title) => typeof title === "string" && title.length * LETTER > plot;
  const titles = [spec.title, ...spec.layer.map((part) => part.encoding?.x?.title)];
  const over = Math.ceil(view.origin()[0] + view.scenegraph().root.bounds.x2 + EDGE - spec.width);
  const wraps = titles.some(isLong);
  if (!wraps && over <= 0) return null;
  const lines = (title) => (isLong(title) ? inLines(title, plot) : title);
  const layer = spec.layer.map((part) => {
    const x = part.encoding?.x;
    return x?.title ? { ...part, encoding: { ...part.encoding, x: { ...x, title: lines(x.title) } } } : part;
  });
  const right = Math.min((spec.padding?.right ?? EDGE) + Math.max(0, over), spec.width / 3);
  return { ...spec, title: lines(spec.title), layer, padding: { left: EDGE, top: EDGE, bottom: EDGE, right } };
}

/** Draw every panel, folded ones last, a little at a time so that the page stays quick. */
async function drawFigures() {
  const figures = JSON.parse(await unpack("figures"));
  const config = JSON.parse(at("data-look").textContent);
  const library = make("script", { type: "module", textContent: await unpack("vega") });
  const loaded = new Promise((done) => addEventListener("vega", done, { once: true }));
  document.head.append(library);
  await loaded;
  const options = { actions: false, renderer: "svg", ast: true, config };
  const queue = [];
  for (const box of document.querySelectorAll(".panels")) {
    const { panels, columns } = figures[box.dataset.figure];
    panels.slice(0, Number(box.dataset.first) || undefined).forEach((spec) => {
      const panel = make("div", { className: "panel" });
      panel.style.minHeight = `${spec.height}px`;
      box.append(panel);
      queue.push([box, panel, spec]);
    });
    box.style.setProperty("--columns", Math.min(columns, box.childElementCount));
  }
  const draw = async ([box, panel, spec]) => {
    const count = getComputedStyle(box).gridTemplateColumns.split(" ").length || 1;
    const outer = box.closest(".opening, main > section") ?? document.body;
    const room = box.clientWidth || outer.clientWidth;
    const wide = panel.clientWidth || (room - 34 * (count - 1)) / count;
    const sized = { ...spec, width: Math.max(220, wide - 2), autosize: { type: "fit-x", contains: "padding" } };
    let next = sized;
    for (let i = 0; next && i < MOST_DRAWS; i += 1) {
      const { view } = await vegaEmbed(panel, next, options);
      next = fitted(next, view);
    }
    panel.style.minHeight = "";
  };
  queue.sort((a, b) => Boolean(a[0].closest("details")) - Boolean(b[0].closest("details")));
  let round = 0;
  const drawAll = async () => {
    const mine = (round += 1);
    for (const item of queue) {
      if (mine !== round) return;
      await draw(item);
      await new Promise((done) => setTimeout(done));
    }
    document.documentElement.dataset.drawn = "yes";
  };
  let width = innerWidth;
  let waiting;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 200);
  });
  await drawAll();
}

document.querySelectorAll(".table").forEach(equip);
for (const details of document.querySelectorAll("details")) {
  details.addEventListener("toggle", () => details.querySelectorAll("table").forEach(placeSecondNames));
}
document.querySelectorAll(".table table").forEach(placeSecondNames);
drawFigures();
