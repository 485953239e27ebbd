// The page: sortable tables, provenance, and what is visible of each table's plots and pictures.

const element = (id) => document.getElementById(id);
// Keys are names too: an object without a prototype has no "constructor" that nobody gave it.
const report = JSON.parse(element("data").textContent, (_, value) =>
  (value && typeof value === "object" && !Array.isArray(value)
    ? Object.setPrototypeOf(value, null) : value));
const hidden = new Set(); // names that the legend has switched off
let terms = []; // of the filter

// What stands in several places of the data is joined once.
const entries = new Map(report.runs.map((run) => [run.id, run]));
const names = [...new Set(report.tables.flatMap(({ groups }) => groups.map(({ name }) => name)))];
const word = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
for (const table of report.tables) {
  const { metric: key, lower_is_better } = table;
  table.main = table.columns.find((column) => column.key === key)
    ?? { key, label: key, unit: "", lower_is_better, help: "" };
  for (const group of table.groups) {
    group.place = names.indexOf(group.name);
    group.members = group.runs.map((id) => entries.get(id)).filter(known);
    const config = Object.entries(group.config).map(([name, value]) => `${name}=${word(value)}`);
    group.text = [group.name, ...config].join(" ").toLowerCase();
  }
}

const matches = ({ text }) => terms.every((term) =>
  (term.startsWith("-") ? term === "-" || !text.includes(term.slice(1)) : text.includes(term)));
const visible = (group) => matches(group) && !hidden.has(group.name);
// Numbers of seconds and bytes carry their unit; "samples/s" says it.
const named = ({ label, unit }) =>
  (["", "s", "bytes", "1/s"].includes(unit ?? "") ? label : `${label} (${unit})`);
const titled = ({ place, name }) => html("span", { class: "variant" }, swatch(place), name);
const scroll = (node, label) =>
  html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, node);

// A table sorted by its headings. A column is {label, value(row), cell(row), kind, mark(row), help,
// down}: what to sort by, what to show, CSS classes, a hint, whether the largest comes first.
function sortable(columns, rows, by = columns[0]) {
  const lines = rows.map((row) => ({
    row,
    line: html("tr", {}, ...columns.map(({ cell, value, kind = "", mark }, k) =>
      html(k ? "td" : "th", { class: `${kind} ${mark?.(row) ?? ""}`, scope: k ? null : "row" },
        (cell ?? value)(row) ?? "–"))),
  }));
  const body = html("tbody", {}, ...lines.map(({ line }) => line));
  const heads = columns.map((column) => {
    const act = () => sort(column, true);
    return html("th", { scope: "col", title: column.help, class: column.kind },
      column.value ? html("button", { type: "button", onclick: act }, column.label) : column.label);
  });

  function sort(column, again) {
    const head = heads[columns.indexOf(column)];
    const [first, second] = ["ascending", "descending"].sort(() => (column.down ? -1 : 1));
    const order = again && head.getAttribute("aria-sort") === first ? second : first;
    heads.forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const compare = ({ row: a }, { row: b }) => {
      const [u, v] = [column.value(a), column.value(b)];
      if (!known(u) || !known(v)) return known(v) - known(u); // missing ones last, either way
      if (typeof u === "number" && typeof v === "number") return sign * (u - v);
      return sign * String(u).localeCompare(String(v), "en", { numeric: true });
    };
    body.append(...[...lines].sort(compare).map(({ line }) => line));
  }
  sort(by, false);
  return { node: html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body), lines };
}

// The ranking

function bestMean(table, { key, lower_is_better: lower }) {
  const means = table.groups.map((group) => group.values[key]?.mean).filter(known);
  return lower === null || !means.length ? null : (lower ? Math.min : Math.max)(...means);
}

// A number that opens where it is from.
const opener = (table, group, column, kind, ...words) =>
  html("button", {
    type: "button", class: `number ${kind}`, "aria-haspopup": "dialog",
    onclick: () => openSource(table, group, column),
  }, ...words);

function meanColumn(table, column) {
  const best = bestMean(table, column);
  const arrow = { true: "\u00a0↓", false: "\u00a0↑", null: "" }[column.lower_is_better];
  return {
    label: named(column) + arrow, help: column.help, down: column.lower_is_better === false,
    value: (group) => group.values[column.key]?.mean,
    cell(group) {
      const cell = group.values[column.key];
      if (!cell) return "–";
      const [mean, sd] = spread(cell, column.unit, column === table.main ? 2 : 1);
      const kind = cell.mean === best ? "first" : "";
      return opener(table, group, column, kind, mean, html("small", {}, sd));
    },
  };
}

function ranking(table) {
  const { main, groups, real } = table;
  const leader = groups.find((group) => group.values[main.key]?.mean === bestMean(table, main));
  const cell = (group) => group.values[main.key];
  const all = [...groups.flatMap((group) => cell(group)?.values ?? []), real].filter(known);
  const log = Math.min(...all) > 0 && Math.max(...all) > 10 * Math.min(...all);
  const axis = scale(all, log, 6, 124);
  const ends = [axis.low, axis.high].map((v) => number(Number(v.toPrecision(2)), main.unit));
  const letter = (one) =>
    html("kbd", { class: leader?.letters.includes(one) ? "first" : null }, one);
  const mean = meanColumn(table, main);
  const columns = [
    { label: "variant", value: ({ name }) => name, cell: titled },
    mean,
    { label: "letters", kind: "words", value: ({ letters }) => letters,
      help: "Variants that share a letter cannot be told apart",
      cell: ({ letters }) => html("span", {}, ...[...letters].map(letter)) },
    { label: `${ends.join(" … ")}${log ? ", log" : ""}`, kind: "words",
      help: "Each seed, the mean, and dotted the real data",
      cell: (group) => cell(group) && drawStrip(axis, 130, cell(group), group.place, real) },
    { label: "n", help: "Seeds", down: true, value: (group) => cell(group)?.n },
    { label: "best", help: "The best seed", down: mean.down, value: (group) => cell(group)?.best,
      cell: (group) => cell(group)
        && opener(table, group, main, "", number(cell(group).best, main.unit)) },
    ...table.columns.filter((column) => column !== main).map((one) => meanColumn(table, one)),
  ];
  if (!groups.some(({ letters }) => letters)) columns.splice(2, 1); // no verdict, no letters
  const made = sortable(columns, groups, mean);
  if (known(real)) {
    made.node.append(html("tfoot", {}, html("tr", {},
      html("th", { scope: "row" }, "real data, held out"),
      html("td", {}, number(real, main.unit)), html("td", { colspan: columns.length - 2 }))));
  }
  return made;
}

// Where a number is from

// Nested settings as [["data_id.hash", "1a2b"], ...].
function flat(value, prefix = "") {
  const plain = value === null || typeof value !== "object" || Array.isArray(value);
  if (plain) return [[prefix, word(value)]];
  return Object.entries(value).flatMap(([key, inner]) =>
    flat(inner, prefix ? `${prefix}.${key}` : key));
}
const listing = (pairs) => html("dl", {},
  ...pairs.flatMap(([key, value]) => [html("dt", {}, key), html("dd", {}, value)]));

function openSource(table, group, column) {
  const { members } = group;
  const cell = group.values[column.key];
  const value = (run) => run.metrics[column.key] ?? run.cost[column.key];
  const told = members.map((run) => new Map(flat(run.provenance)));
  const keys = [...new Set(told.flatMap((one) => [...one.keys()]))];
  const said = (key) => {
    const each = told.map((one) => one.get(key) ?? "–");
    if (new Set(each).size === 1) return each[0];
    return members.map(({ seed }, i) => `seed ${seed}: ${each[i]}`).join("; ");
  };
  const seeds = sortable([
    { label: "seed", value: ({ seed }) => seed },
    { label: column.label + (column.unit && ` (${column.unit})`), value },
    { label: "status", kind: "words", value: ({ status }) => status },
    { label: "folder", kind: "words", value: ({ folder }) => folder },
  ], members);
  const mean = spread(cell, column.unit, 2).join("");
  const best = `best ${number(cell.best, column.unit)}`;
  element("source-title").textContent = `${column.label} of ${group.name}: ${mean}`;
  element("source-words").replaceChildren(
    html("p", { class: "quiet" }, `${column.help}; n = ${cell.n}, ${best}`),
    scroll(seeds.node, "Seeds"), listing(keys.map((key) => [key, said(key)])),
    html("h3", {}, "Protocol of this table"),
    html("p", {}, table.data), listing(flat(table.protocol)));
  element("source").showModal();
}

// Plots: each of these readies its part of a section and returns what draws it

const control = (host, name) => host.querySelector(`[name=${name}]`);
const isWide = (values, ratio) => Math.min(...values) > 0
  && Math.max(...values) > ratio * Math.min(...values);
const realOf = ({ real }, log) => (known(real) && (!log || real > 0) ? real : null);

function learning(table, host) {
  const { main, groups } = table;
  const plot = host.querySelector(".plot");
  const tip = html("div", { class: "tip", "aria-live": "polite" });
  const [hair, all] = [svg("path", { class: "axis" }), groups.flatMap(({ members }) => members)];
  host.hidden = !all.some(({ curve }) => curve.samples.length > 1);
  control(host, "logy").checked = isWide(all.flatMap(({ curve }) => curve.best).filter(known), 20);
  plot.setAttribute("aria-label", `${main.label} during training; arrow keys read values`);
  let reading = null; // the hair line's place, 0 to 1
  let [made, curves, x] = [];

  function draw() {
    const [axis, kind, band] = ["x", "kind", "band"].map((name) => control(host, name).value);
    const [logx, logy] = ["logx", "logy"].map((name) => control(host, name).checked);
    curves = groups.filter(visible).map((group) => ({ ...group, ...seedCurves(
      group.members.map(({ curve }) => curve), axis, kind, logx, band) }))
      .filter(({ line }) => line.length);
    const drawn = curves.flatMap(({ line, seeds }) => (band === "seeds" ? seeds.flat() : line));
    const heights = drawn.flatMap(([, mean, ...ends]) =>
      (["range", "sd"].includes(band) ? ends : [mean]));
    const real = realOf(table, logy);
    x = axis === "seconds" ? { label: "training time", unit: "s" } : { label: "samples seen" };
    const values = [...heights, real].filter(known);
    made = drawCurves(plot, curves, { ...x, log: logx, air: 0, values: drawn.map(([at]) => at) },
      { label: main.label, unit: main.unit, log: logy, values, real }, band);
    made.node.append(hair);
    plot.append(tip);
    read(reading);
  }

  // The hair line, and what the curves are there.
  function read(share) {
    reading = share === null ? null : Math.max(0, Math.min(1, share));
    tip.hidden = reading === null;
    hair.setAttribute("d", "M0 0");
    if (tip.hidden) return;
    const { X, left, right, top, bottom, width } = made;
    const at = left + reading * (right - left);
    const rows = curves.map((curve) => [curve, interpolate(curve.line, X.back(at))])
      .filter(([, y]) => known(y))
      .sort(([, a], [, b]) => (table.lower_is_better ? a - b : b - a));
    hair.setAttribute("d", `M${at} ${top}V${bottom}`);
    tip.style.cssText = at > width / 2 ? `right:${width - at + 12}px` : `left:${at + 12}px`;
    tip.replaceChildren(html("strong", {}, number(X.back(at), x.unit)),
      html("table", {}, html("tbody", {}, ...rows.map(([curve, y]) =>
        html("tr", {}, html("th", {}, titled(curve)), html("td", {}, number(y, main.unit)))))));
  }

  plot.addEventListener("pointermove", ({ clientX }) => read(
    (clientX - plot.getBoundingClientRect().left - made.left) / (made.right - made.left)));
  for (const leave of ["pointerleave", "blur"]) plot.addEventListener(leave, () => read(null));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.025, ArrowRight: 0.025 }[event.key];
    if (step) read((reading ?? 0.5) + step);
    if (event.key === "Escape") read(null);
    if (step) event.preventDefault();
  });
  return draw;
}

function scatter(table, host, x, y, logs) {
  const cells = table.groups.filter(visible)
    .map((group) => ({ group, a: group.values[x.key], b: group.values[y.key] }))
    .filter(({ a, b }) => known(a?.mean) && known(b?.mean));
  const points = cells.map(({ group, a, b }) => ({
    name: group.name, place: group.place, x: a.mean, y: b.mean,
    seeds: a.values.length === b.values.length ? a.values.map((v, i) => [v, b.values[i]])
      .filter((pair) => pair.every(known)) : [],
    title: `${group.name}: ${y.label} ${number(b.mean, y.unit)}, `
      + `${x.label} ${number(a.mean, x.unit)}`,
    open: () => openSource(table, group, y),
  }));
  const values = (k) => points.flatMap((p) => [k ? p.y : p.x, ...p.seeds.map((pair) => pair[k])]);
  const real = y === table.main ? realOf(table, logs.y) : null;
  drawScatter(host, points, { ...x, label: named(x), log: logs.x, values: values(0) },
    { ...y, label: named(y), log: logs.y, real, values: [...values(1), real].filter(known) });
}

function cost(table, host) {
  const { main } = table;
  const choices = ["seconds", "parameters", "samples", "peak_memory"]
    .map((key) => table.columns.find((column) => column.key === key)).filter(known);
  host.hidden = !choices.length;
  control(host, "x").append(...choices.map(({ key, label }) =>
    html("option", { value: key }, label)));
  const means = table.groups.map((group) => group.values[main.key]?.mean).filter(known);
  control(host, "logy").checked = isWide(means, 10);
  return () => {
    const x = choices.find(({ key }) => key === control(host, "x").value);
    const logs = { x: control(host, "logx").checked, y: control(host, "logy").checked };
    if (x) scatter(table, host.querySelector(".plot"), x, main, logs);
  };
}

function recall(table, host) {
  const y = table.columns.find(({ key }) => key.startsWith("precision"));
  const x = y && table.columns.find(({ key }) => key === y.key.replace("precision", "recall"));
  host.hidden = !x;
  return () => x && scatter(table, host.querySelector(".plot"), x, y, {});
}

// Pictures over training

function pictures(table, host) {
  const films = table.groups.map((group) => {
    const run = group.members.find((one) => one.pictures.length);
    const [image, words] = [html("img", {}), html("div", { class: "quiet" })];
    return { group, run, image, words,
      figure: html("figure", {}, image, html("figcaption", {}, titled(group), words)) };
  }).filter(({ run }) => run);
  const frames = films.flatMap(({ run }) => run.pictures.map(({ samples }) => samples));
  const times = [...new Set(frames)].sort((a, b) => a - b);
  const [slider, button] = [control(host, "time"), control(host, "play")];
  const last = times.length - 1;
  let playing = null;
  host.hidden = !films.length;
  host.querySelector(".frames").append(...films.map(({ figure }) => figure));
  slider.max = slider.value = last;
  films.forEach(({ image }) => image.addEventListener("load", scale));

  // Pictures of few columns are as much narrower: an image has one size in all of them.
  function scale() {
    const widest = Math.max(...films.map(({ image }) => image.naturalWidth));
    for (const { image } of films) image.style.width = `${100 * image.naturalWidth / widest}%`;
  }

  function draw() {
    const time = times[slider.value];
    if (!known(time)) return;
    const said = `${time.toLocaleString("en")} samples`;
    host.querySelector(".time").textContent = said;
    slider.setAttribute("aria-valuetext", said);
    host.querySelector(".frames").classList.toggle("large", control(host, "large").checked);
    for (const { group, run, image, words, figure } of films) {
      const shown = run.pictures.findLast(({ samples }) => samples <= time) ?? run.pictures[0];
      const scored = run.curve.samples.findLastIndex((samples) => samples <= shown.samples);
      const value = run.curve.value[scored];
      figure.hidden = !visible(group);
      if (image.getAttribute("src") !== shown.image) image.src = shown.image;
      image.alt = `${group.name} after ${shown.samples} samples`;
      words.textContent = [
        known(value) ? `${table.main.label} ${number(value, table.main.unit)}` : null,
        shown.samples === time ? null : `at ${number(shown.samples)}`, `seed ${run.seed}`,
      ].filter(known).join(", ");
    }
  }

  function play(on) {
    clearInterval(playing);
    if (on && Number(slider.value) === last) slider.value = 0;
    playing = on ? setInterval(() => {
      slider.value = Number(slider.value) + 1;
      if (Number(slider.value) === last) play(false);
      draw();
    }, 500) : null;
    button.textContent = on ? "❚❚ stop" : "▶ play";
    button.setAttribute("aria-pressed", String(on));
    draw();
  }
  button.addEventListener("click", () => play(!playing));
  slider.addEventListener("input", () => (playing ? play(false) : draw()));
  return draw;
}

// Settings and pairs

function configs({ groups }) {
  const keys = [...new Set(groups.flatMap(({ config }) => Object.keys(config)))].sort();
  const said = ({ config }, key) => (key in config ? word(config[key]) : "–");
  const columns = keys.map((key) => {
    const values = groups.map((group) => said(group, key));
    const count = (value) => values.filter((one) => one === value).length;
    const usual = values.reduce((a, b) => (count(b) > count(a) ? b : a));
    const mark = (group) => (["–", usual].includes(said(group, key)) ? "same" : "other");
    return { label: key, kind: "words", value: (group) => said(group, key), mark };
  });
  const variant = { label: "variant", value: ({ name }) => name, cell: titled };
  return sortable([variant, ...columns], groups);
}

function pairs({ groups, verdict }) {
  const name = (id) => groups.find((group) => group.id === id)?.name ?? id;
  const columns = [
    { label: "a", value: ({ a }) => name(a) },
    { label: "b", kind: "words", value: ({ b }) => name(b) },
    { label: "a : b", help: "Ratio of the means, or their difference: see the method",
      value: ({ ratio }) => ratio, cell: ({ ratio }) => number(ratio) },
    { label: "interval", cell: ({ low, high }) => `${number(low)} … ${number(high)}` },
    { label: "p", value: ({ p }) => p,
      cell: ({ p }) => (known(p) && p < 0.001 ? "< 0.001" : p?.toFixed(3)) },
    { label: "", kind: "words",
      cell: ({ distinct }) => (distinct ? "different" : "cannot be told apart") },
  ];
  return sortable(columns, verdict.pairs, columns[4]).node;
}

// The page

const link = (id, title, words) => html("li", {}, html("a", { href: `#${id}` },
  html("strong", {}, title), html("span", { class: "quiet" }, words)));

function legend(groups) {
  const one = groups.map((group) => [group, html("button", { type: "button", onclick() {
    if (!hidden.delete(group.name)) hidden.add(group.name);
    refresh();
  } }, swatch(group.place), group.name)]);
  const all = html("button", { type: "button", onclick() {
    const act = groups.some(({ name }) => hidden.has(name)) ? "delete" : "add";
    groups.forEach(({ name }) => hidden[act](name));
    refresh();
  } }, "all / none");
  return { one, nodes: [...one.map(([, button]) => button), all] };
}

function section(table, index) {
  const node = element("section").content.firstElementChild.cloneNode(true);
  const part = (name) => node.querySelector(`.${name}`);
  const { main, verdict, groups } = table;
  const [ranked, settings, buttons] = [ranking(table), configs(table), legend(groups)];
  node.id = `table-${index}`;
  node.querySelector("h2").textContent = `${main.label} on ${table.data}`;
  part("protocol").append(html("summary", {}, `Protocol: ${table.metric}`),
    listing(flat(table.protocol)));
  part("verdict").append(html("p", {}, verdict.text),
    html("div", { class: "quiet" }, `${verdict.method}, level ${verdict.alpha}`));
  part("warnings").append(...table.warnings.map((warning) => html("li", {}, warning)));
  part("ranking").append(scroll(ranked.node, `Ranking, ${table.data}`));
  part("pairs").append(scroll(pairs(table), "All pairs"));
  part("pairs").hidden = !verdict.pairs.length;
  part("configs").append(scroll(settings.node, "Settings"));
  part("configs").hidden = !groups.some(({ config }) => Object.keys(config).length);
  part("legend").append(...buttons.nodes);
  element("tables").append(node);
  const best = groups.find((group) => group.values[main.key]?.mean === bestMean(table, main));
  const lead = best ? `, best ${best.name}: ${number(best.values[main.key].mean, main.unit)}` : "";
  element("contents").append(
    link(node.id, table.data, `${main.label} of ${groups.length} variants${lead}`));

  const draws = Object.entries({ learning, cost, recall, pictures }).map(([name, ready]) => {
    const draw = ready(table, part(name));
    part(name).addEventListener("change", draw);
    return draw;
  });
  let width = node.clientWidth;
  new ResizeObserver(() => {
    if (node.clientWidth !== width) draws.forEach((draw) => draw());
    width = node.clientWidth; // a height changes by drawing
  }).observe(node);
  return () => {
    for (const { row, line } of [...ranked.lines, ...settings.lines]) {
      line.hidden = !matches(row);
      line.classList.toggle("off", hidden.has(row.name));
    }
    for (const [group, button] of buttons.one) {
      button.hidden = !matches(group);
      button.setAttribute("aria-pressed", String(!hidden.has(group.name)));
    }
    draws.forEach((draw) => draw());
  };
}

function refresh() {
  terms = element("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = report.tables.flatMap((table) => table.groups);
  const count = groups.filter(matches).length;
  element("matches").textContent = terms.length ? `${count} of ${groups.length} rows` : "";
  updates.forEach((update) => update());
}

document.title = element("title").textContent = report.title;
const updates = report.tables.map(section);
element("left-out").hidden = !report.left_out.length;
if (report.left_out.length) {
  element("contents").append(link("left-out", "Left out", `runs: ${report.left_out.length}`));
}
element("left-out").append(scroll(sortable([
  { label: "folder", value: ({ folder }) => folder },
  { label: "status", kind: "words", value: ({ status }) => status },
  { label: "why", kind: "words", value: ({ reason }) => reason },
], report.left_out).node, "Runs left out"));
element("contents").append(link("notes", "How to read this", "rules, power of the test"));
const by = report.by.join(", ") || "all settings but the seed";
element("notes").append(...report.notes.map((note) => html("p", {}, note)),
  html("p", { class: "quiet" }, `Made ${report.created}; variants differ by ${by}.`));

element("filter").addEventListener("input", refresh);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select") || element("source").open) return;
  event.preventDefault();
  element("filter").focus();
});
element("theme").addEventListener("click", () => {
  const { style } = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  style.colorScheme = (style.colorScheme || system) === "dark" ? "light" : "dark";
});
element("source").addEventListener("click", (event) => { // on the ground around it
  if (event.target === element("source")) element("source").close();
});
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((one) => one.setAttribute("open", ""));
});
refresh();
