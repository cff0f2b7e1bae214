"use strict";
// The pair explorer and the list of replies. Parts of the data are unpacked when they are chosen.
(() => {
  const { runs, outcomes } = JSON.parse(at("data-explorer").textContent);
  const controls = at("explorer");
  const field = (name) => controls.elements[name];
  const cache = new Map();
  const part = (name) => {
    if (!cache.has(name)) cache.set(name, unpack(name).then(JSON.parse));
    return cache.get(name);
  };
  const WORDS = { answer: "an answer", refusal: "refused", invalid: "invalid", truncated: "ran out of tokens", failed: "failed" };
  const PAGE = 40;
  let survey;
  let prompts;
  let run;
  let turns = 0; // selections so far
  let shown = 0; // index of the pair in sight
  let listed = [];

  function options(select, entries, groupOf) {
    select.replaceChildren();
    const groups = new Map();
    entries.forEach((entry, value) => {
      const option = make("option", { value, textContent: entry.title });
      const group = groupOf ? entry[groupOf] : "";
      if (!groups.has(group)) groups.set(group, groupOf ? make("optgroup", { label: group }) : select);
      groups.get(group).append(option);
    });
    if (groupOf) select.append(...groups.values());
  }

  function chooseSplit() {
    options(field("run"), runs[field("split").value].map((entry) => ({ title: entry.name })));
    return chooseRun();
  }

  /** Show the chosen run once all of it is there, unless another was chosen in the meantime. */
  async function chooseRun() {
    const turn = ++turns;
    const split = field("split").value;
    const entry = runs[split][Number(field("run").value)];
    const parts = await Promise.all([`survey-${split}`, entry.part, entry.prompts].map(part));
    if (turn !== turns) return;
    if (survey !== parts[0]) nameQuestions(parts[0]);
    [survey, run, prompts] = parts;
    choosePair();
    list();
  }

  function nameQuestions({ subgroups, questions }) {
    const named = (entry) => ({ ...entry, title: `${entry.name} (n ${entry.n})` });
    options(field("subgroup"), subgroups.map(named), "stratum");
    const asked = (entry) => ({ ...entry, title: entry.topic ? `${entry.id}: ${entry.topic}` : entry.id });
    options(field("question"), questions.map(asked), "block");
  }

  function choosePair() {
    const [s, q] = [Number(field("subgroup").value), Number(field("question").value)];
    const index = survey.subgroup.findIndex((subgroup, i) => subgroup === s && survey.question[i] === q && isShown(i));
    if (index < 0) {
      at("pair").replaceChildren(make("p", { textContent: "Too few of this subgroup answered this question: the pair is too small to show." }));
      return;
    }
    showPair(index);
  }

  const isShown = (i) => survey.n[i] !== null; // an exported page hides more pairs

  function step(by) {
    const count = survey.subgroup.length;
    if (!survey.subgroup.some((_, i) => isShown(i))) return; // each pair is too small
    do { shown = (shown + by + count) % count; } while (!isShown(shown));
    goTo(shown);
  }

  function goTo(index) {
    field("subgroup").value = survey.subgroup[index];
    field("question").value = survey.question[index];
    showPair(index);
  }

  /** Distance of answer and mode as a share of the scale; null where there is none. */
  function error(index) {
    const { ordinal, low, high } = survey.questions[survey.question[index]];
    const answer = run.answer[index];
    if (answer === null) return null;
    return ordinal ? Math.abs(answer - survey.mode[index]) / (high - low || 1) : Number(answer !== survey.mode[index]);
  }

  const outcomeOf = (index) => (run.outcome[index] < 0 ? "none" : outcomes[run.outcome[index]]);
  function replyOf(index) {
    const place = run.reply[index];
    if (place === -2) return "(left out of this page for its size; predictions.parquet of the run has it)";
    return place < 0 ? "(no text: a rule, or a model whose options were scored alone)" : run.replies[place];
  }

  function bar(kind, percent, chip) {
    const line = make("div", { className: `bar ${kind}` });
    const fill = make("i", { ariaHidden: "true" });
    fill.style.width = `${percent * 0.72}%`;
    line.append(fill, make("span", { textContent: `${percent}%` }));
    if (chip) line.append(make("span", { className: "chip", textContent: chip }));
    return line;
  }

  function showPair(index) {
    shown = index;
    const { codes, labels } = survey.options[survey.option[index]];
    const people = survey.shares[index];
    const model = run.shares[index];
    const left = make("div");
    const key = make("div", { className: "key" });
    for (const [kind, name] of [["people", "people"], ["model", "the run's probabilities"]]) {
      const line = make("span", { className: `bar ${kind}` }, make("i"), name);
      line.firstChild.style.width = "20px";
      if (kind === "people" || model) key.append(line);
    }
    left.append(key);
    codes.forEach((code, i) => {
      const bars = make("div", { className: "bars" });
      const mode = code === survey.mode[index] ? (survey.tied[index] ? "mode, tied" : "mode") : "";
      bars.append(bar("people", people[i], mode));
      const answer = code === run.answer[index] ? "its answer" : "";
      if (model) bars.append(bar("model", model[i], answer));
      else if (answer) bars.append(make("div", {}, make("span", { className: "chip", textContent: answer })));
      const name = make("div", { className: "name", textContent: labels[i] ? `${code} = ${labels[i]}` : code });
      left.append(make("div", { className: "option" }, name, bars));
    });
    if (run.answer[index] !== null && !codes.includes(run.answer[index])) {
      left.append(make("p", { textContent: `Its answer: ${run.answer[index]}` }));
    }
    const far = error(index);
    const text = (content) => make("pre", { textContent: content });
    const facts = [
      ["Label", `${survey.mode[index]}${survey.tied[index] ? ", tied with another answer: the lowest code counts" : ""}; n ${survey.n[index].toLocaleString("en")} people`],
      ["The run's reply", `${WORDS[outcomeOf(index)] ?? "none"}${far === null ? "" : far === 0 ? ", the modal one" : `, ${Math.round(100 * far)}% of the scale from the mode`}`],
      ["Prompt, as it was rendered (the model's own chat template is put around both messages)",
        text(prompts.first_texts[prompts.first[index]]), text(prompts.second_texts[prompts.second[index]])],
      ["Raw reply", text(replyOf(index))],
    ];
    const right = make("dl");
    for (const [term, ...content] of facts) right.append(make("dt", { textContent: term }), make("dd", {}, ...content));
    at("pair").replaceChildren(left, right);
  }

  // the list of replies

  const KINDS = {
    unanswered: (i) => outcomeOf(i) !== "answer",
    refusal: (i) => outcomeOf(i) === "refusal",
    invalid: (i) => outcomeOf(i) === "invalid",
    truncated: (i) => outcomeOf(i) === "truncated",
    failed: (i) => outcomeOf(i) === "failed",
    errors: (i) => error(i) > 0,
    tied: (i) => survey.tied[i] === 1,
    all: () => true,
  };

  function list() {
    const kind = at("kind").value;
    const words = at("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    listed = survey.subgroup.map((_, i) => i).filter(isShown).filter(KINDS[kind]).filter((i) => {
      const question = survey.questions[survey.question[i]];
      const text = `${survey.subgroups[survey.subgroup[i]].name} ${question.id} ${question.topic} ${question.block} ${replyOf(i)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    if (kind === "errors") listed.sort((a, b) => error(b) - error(a));
    at("replies").querySelector("tbody").replaceChildren();
    more();
  }

  function more() {
    const body = at("replies").querySelector("tbody");
    const from = body.rows.length;
    for (const i of listed.slice(from, from + PAGE)) {
      const question = survey.questions[survey.question[i]];
      const open = make("button", { type: "button", textContent: survey.subgroups[survey.subgroup[i]].name });
      open.onclick = () => { goTo(i); at("explore").scrollIntoView(); };
      const far = error(i);
      body.append(make("tr", {},
        make("th", { scope: "row" }, open),
        make("td", { textContent: `${question.id}${question.topic ? `, ${question.topic}` : ""}` }),
        make("td", { textContent: outcomeOf(i) }),
        make("td", { textContent: run.answer[i] ?? "–" }),
        make("td", { textContent: survey.mode[i] + (survey.tied[i] ? " (tied)" : "") }),
        make("td", { textContent: far === null ? "–" : far.toFixed(2) }),
        make("td", { textContent: replyOf(i).slice(0, 200) })));
    }
    const count = Math.min(body.rows.length, listed.length);
    at("counted").textContent = `${count.toLocaleString("en")} of ${listed.length.toLocaleString("en")} shown; ${survey.subgroup.length.toLocaleString("en")} pairs in all.`;
    at("more").hidden = count >= listed.length;
  }

  options(field("split"), Object.keys(runs).map((name) => ({ title: name })));
  [...field("split").options].forEach((option) => { option.value = option.textContent; });
  field("split").onchange = chooseSplit;
  field("run").onchange = chooseRun;
  field("subgroup").onchange = field("question").onchange = choosePair;
  at("before").onclick = () => step(-1);
  at("after").onclick = () => step(1);
  at("kind").onchange = list;
  at("words").oninput = list;
  at("more").onclick = more;
  chooseSplit().then(() => { at("explore").dataset.ready = "yes"; });
})();
