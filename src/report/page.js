"use strict";
const element = (id) => document.getElementById(id);
const report = JSON.parse(element("data").textContent);
const runs = new Map(report.runs.map((run) => [run.id, run]));
const names = [...new Set(report.tables.flatMap((table) => table.groups.map(({ name }) => name)))];
const hidden = new Set(); // names that the legend has switched off
let terms = []; // of the filter

// Nodes

function build(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const html = (tag, attributes, ...children) =>
  build(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// Numbers and words

const four = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const known = (value) => value !== null && value !== undefined;

function duration(seconds) {
  if (seconds < 60) return `${four.format(Number(seconds.toPrecision(3)))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function number(value, unit) {
  if (!known(value)) return "–";
  if (typeof value !== "number") return String(value);
  if (unit === "s") return duration(value);
  return (Math.abs(value) >= 1e4 ? compact : four).format(value);
}

// A mean to two digits of its standard deviation.
function spread({ mean, sd }, unit) {
  if (!known(sd) || !known(mean)) return [number(mean, unit), ""];
  if (sd === 0 || unit === "s" || Math.abs(mean) >= 1e4) {
    return [number(mean, unit), sd > 0 ? ` ± ${number(Number(sd.toPrecision(2)), unit)}` : ""];
  }
  const digits = Math.min(5, Math.max(0, 1 - Math.floor(Math.log10(sd))));
  return [mean.toFixed(digits), ` ± ${sd.toFixed(digits)}`];
}

const word = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

// Nested settings as [["data_id.hash", "1a2b"], ...].
function flat(value, prefix = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [[prefix, word(value)]];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, prefix ? `${prefix}.${key}` : key));
}
const listing = (entries) =>
  html("dl", {}, ...entries.flatMap(([key, value]) => [html("dt", {}, key), html("dd", {}, value)]));

// A name's look: colour, dashes and marker

const DASHES = [null, "7 4", "2 3", "10 3 2 3"];
const MARKERS = [
  "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z", "M-3.6-3.6H3.6V3.6H-3.6Z", "M0-4.8L4.6 3.6H-4.6Z",
  "M0-5L5 0L0 5L-5 0Z", "M0 4.8L4.6-3.6H-4.6Z", "M-1.6-4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6V-1.6H-1.6Z",
  "M0-5.2L1.5-1.6L5-1.6L2.3 .8L3.2 4.4L0 2.3L-3.2 4.4L-2.3 .8L-5-1.6L-1.5-1.6Z",
];
const colour = (name) => `var(--c${names.indexOf(name) % 8})`;
const dashes = (name) => DASHES[Math.floor(names.indexOf(name) / 8) % DASHES.length];
const marker = (name, x, y, attributes) =>
  svg("path", { d: MARKERS[names.indexOf(name) % MARKERS.length], fill: colour(name),
    transform: `translate(${x} ${y})`, ...attributes });
const swatch = (name) =>
  svg("svg", { class: "swatch", width: 26, height: 12, "aria-hidden": "true" },
    svg("path", { d: "M0 6H26", stroke: colour(name), "stroke-width": 2, "stroke-dasharray": dashes(name) }),
    marker(name, 13, 6));

// What is to be seen

const settings = (group) =>
  `${group.name} ${Object.entries(group.config).map(([k, v]) => `${k}=${word(v)}`).join(" ")}`.toLowerCase();
const matches = (group) => terms.every((term) => (term.startsWith("-")
  ? term.length === 1 || !settings(group).includes(term.slice(1)) : settings(group).includes(term)));
const visible = (group) => matches(group) && !hidden.has(group.name);

// A table that its headings sort; a column: {label, value(row), cell(row), up: first click ascends}

function sortable(columns, rows, by) {
  const lines = rows.map((row) => ({ row, line: html("tr", {}, ...columns.map((column, k) => {
    const cell = column.cell ? column.cell(row) : column.value(row);
    const kind = typeof column.kind === "function" ? column.kind(row) : column.kind;
    return html(k ? "td" : "th", { class: kind, scope: k ? null : "row" }, cell);
  })) }));
  const body = html("tbody", {}, ...lines.map(({ line }) => line));
  const heads = columns.map((column) => {
    const act = () => sort(column, heads[columns.indexOf(column)].ariaSort === first(column)
      ? other(first(column)) : first(column));
    return html("th", { scope: "col", title: column.help, class: column.kind === "words" ? "words" : null },
      column.value ? html("button", { type: "button", onclick: act }, column.label) : column.label);
  });
  const first = (column) => (column.down ? "descending" : "ascending");
  const other = (order) => (order === "ascending" ? "descending" : "ascending");

  function sort(column, order) {
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[columns.indexOf(column)].setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const compare = ({ row: a }, { row: b }) => {
      const [u, v] = [column.value(a), column.value(b)];
      if (!known(u) || !known(v)) return known(v) - known(u); // unknown ones last, either way
      return sign * (typeof u === "number" ? u - v : String(u).localeCompare(String(v), "en", { numeric: true }));
    };
    body.append(...[...lines].sort(compare).map(({ line }) => line));
  }
  sort(by ?? columns[0], first(by ?? columns[0]));
  return { node: html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body), lines };
}

// The ranking

function ranking(table) {
  const main = table.columns.find(({ key }) => key === table.metric);
  const cells = (key) => table.groups.map((group) => group.values[key]).filter((cell) => known(cell?.mean));
  const better = (column) => ((a, b) => (column.lower_is_better ? a < b : a > b));
  const best = (column) => (column.lower_is_better === null ? null
    : cells(column.key).reduce((top, { mean }) => (top === null || better(column)(mean, top) ? mean : top), null));
  const unit = ({ unit }) => (unit && unit !== "s" ? ` (${unit})` : "");
  const arrow = ({ lower_is_better: lower }) => (lower === null ? "" : lower ? " ↓" : " ↑");
  const numeric = (column) => {
    const top = best(column);
    return {
      label: column.label + unit(column) + arrow(column), help: column.help, down: column.lower_is_better === false,
      value: (group) => group.values[column.key]?.mean,
      cell(group) {
        const cell = group.values[column.key];
        if (!cell) return "–";
        const [mean, sd] = spread(cell, column.unit);
        return html("button", { type: "button", class: cell.mean === top ? "number first" : "number",
          "aria-haspopup": "dialog", onclick: () => openSource(table, group, column) }, mean, html("small", {}, sd));
      },
    };
  };
  const leader = table.groups.find((group) => main && group.values[main.key]?.mean === best(main));
  const level = (letter) => leader?.letters.includes(letter);
  const columns = [
    { label: "variant", value: ({ name }) => name, cell: ({ name }) => html("span", {}, swatch(name), name) },
    { label: "letters", help: "Variants that share a letter cannot be told apart", value: ({ letters }) => letters,
      kind: "words", cell: ({ letters }) => html("span", {}, ...[...letters].map((letter) =>
        html("kbd", { class: level(letter) ? "first" : null }, letter))) },
  ];
  if (main) {
    const strip = strips(table, main);
    const sorted = numeric(main);
    columns.push(sorted, { label: strip.label, help: "Each seed, the mean, and dotted the real data", cell: strip.cell },
      { label: "n", help: "Seeds", value: (group) => group.values[main.key]?.n, down: true },
      { label: "best", help: "The best seed", down: sorted.down, value: (group) => group.values[main.key]?.best,
        cell: (group) => number(group.values[main.key]?.best, main.unit) });
  }
  columns.push(...table.columns.filter((column) => column !== main).map(numeric));
  const made = sortable(columns, table.groups, main && columns[2]);
  if (known(table.real) && main) {
    made.node.append(html("tfoot", {}, html("tr", {},
      html("th", { scope: "row" }, "real data, held out"), html("td", {}),
      html("td", {}, number(table.real, main.unit)), html("td", { colspan: columns.length - 3 }))));
  }
  return made;
}

// A row's seeds on one axis for all rows.
function strips(table, { key, unit }) {
  const width = 150;
  const all = table.groups.flatMap((group) => group.values[key]?.values ?? []).filter(known);
  const ends = [...all, ...(known(table.real) ? [table.real] : [])];
  const axis = scale(ends, Math.min(...ends) > 0 && Math.max(...ends) > 10 * Math.min(...ends), 6, width - 6);
  const tick = (value, attributes) => svg("path", { d: `M${axis(value)} 2V18`, ...attributes });
  const cell = (group) => svg("svg", { width, height: 20, "aria-hidden": "true" },
    svg("path", { d: `M0 10H${width}`, class: "grid" }),
    known(table.real) ? tick(table.real, { class: "floor" }) : null,
    ...(group.values[key]?.values ?? []).filter(known).map((value) =>
      svg("circle", { cx: axis(value), cy: 10, r: 3.5, fill: colour(group.name), opacity: 0.6 })),
    known(group.values[key]?.mean) ? tick(group.values[key].mean, { stroke: colour(group.name), "stroke-width": 2 }) : null);
  return { label: ends.length ? `${number(axis.low, unit)} … ${number(axis.high, unit)}${axis.log ? " (log)" : ""}` : "", cell };
}

// Where a number is from

function openSource(table, group, column) {
  const members = group.runs.map((id) => runs.get(id)).filter(known);
  const cell = group.values[column.key];
  const of = (run, i) => run.metrics[column.key] ?? run.cost[column.key]
    ?? (cell.values.length === members.length ? cell.values[i] : null);
  const told = members.map((run) => new Map(flat(run.provenance)));
  const keys = [...new Set(told.flatMap((one) => [...one.keys()]))];
  const agree = (key) => new Set(told.map((one) => one.get(key))).size === 1;
  const [mean, sd] = spread(cell, column.unit);
  element("source-title").textContent = `${column.label} of ${group.name}: ${mean}${sd}`;
  element("source-words").replaceChildren(
    html("p", { class: "quiet" }, `${cell.n} ${cell.n === 1 ? "seed" : "seeds"}, best ${number(cell.best, column.unit)}. ${column.help}`),
    html("div", { class: "scroll" }, sortable([
      { label: "seed", value: ({ seed }) => seed },
      { label: column.label, value: (run) => of(run, members.indexOf(run)), cell: (run) => known(of(run, members.indexOf(run))) ? String(of(run, members.indexOf(run))) : "–" },
      { label: "status", kind: "words", value: ({ status }) => status },
      { label: "folder", kind: "words", value: ({ folder }) => folder },
    ], members).node),
    listing(keys.map((key) => [key, agree(key) ? told[0].get(key)
      : members.map(({ seed }, i) => `seed ${seed}: ${told[i].get(key) ?? "–"}`).join("; ")])),
    html("h3", {}, "Protocol of this table"), html("p", {}, table.data), listing(flat(table.protocol)));
  element("source").showModal();
}

// Axes

function scale(values, log, from, to) {
  const good = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
  let [low, high] = good.length ? [Math.min(...good), Math.max(...good)] : [log ? 1 : 0, log ? 10 : 1];
  if (low === high) [low, high] = log ? [low / 1.5, high * 1.5] : [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
  const f = log ? Math.log : (v) => v;
  const at = (v) => from + ((f(Math.max(v, log ? low / 1e3 : -Infinity)) - f(low)) / (f(high) - f(low))) * (to - from);
  const back = (p) => { const q = f(low) + ((p - from) / (to - from)) * (f(high) - f(low)); return log ? Math.exp(q) : q; };
  return Object.assign(at, { low, high, log, back, ticks: (most) => ticks(low, high, log, most) });
}

function ticks(low, high, log, most) {
  const inside = (list) => list.filter((v) => v >= low * (1 - 1e-9) - 1e-12 && v <= high * (1 + 1e-9) + 1e-12);
  if (log) {
    const decades = Array.from({ length: 40 }, (_, k) => 10 ** (k - 20)).filter((d) => d * 10 > low && d <= high);
    for (const steps of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
      const found = inside(decades.flatMap((d) => steps.map((s) => Number((d * s).toPrecision(6)))));
      if (found.length >= 3 && found.length <= most) return found;
    }
  }
  const rough = (high - low) / Math.max(1, most - 1), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((s) => s * power >= rough * 0.999) * power;
  return inside(Array.from({ length: 60 }, (_, k) => Number((Math.ceil(low / step - 1e-9) * step + k * step).toPrecision(10))));
}

// An empty plot: axes with names and room at the right for labels.
function frame(host, x, y, room = 16) {
  const width = Math.max(280, host.clientWidth), height = Math.round(Math.min(400, Math.max(260, width * 0.55)));
  const [left, right, top, bottom] = [58, width - room, 24, height - 42];
  const pad = (values, log) => { // a little air around the points
    const good = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
    const [low, high] = [Math.min(...good), Math.max(...good)];
    return log ? [...good, low * (low / high) ** 0.05, high * (high / low) ** 0.05] : [...good, low - 0.05 * (high - low), high + 0.05 * (high - low)];
  };
  const X = scale(x.tight ? x.values : pad(x.values, x.log), x.log, left, right);
  const Y = scale(pad(y.values, y.log), y.log, bottom, top);
  const node = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${y.label} against ${x.label}` },
    ...Y.ticks(Math.max(4, height / 45)).flatMap((v) => [svg("path", { class: "grid", d: `M${left} ${Y(v)}H${right}` }),
      svg("text", { x: left - 8, y: Y(v) + 4, "text-anchor": "end" }, number(v, y.unit))]),
    ...X.ticks(Math.max(3, (right - left) / 90)).flatMap((v) => [svg("path", { class: "axis", d: `M${X(v)} ${bottom}v5` }),
      svg("text", { x: X(v), y: bottom + 19, "text-anchor": "middle" }, number(v, x.unit))]),
    svg("path", { class: "axis", d: `M${left} ${bottom}H${right}` }),
    svg("text", { x: right, y: height - 6, "text-anchor": "end" }, x.label),
    svg("text", { x: 4, y: 14 }, y.label));
  host.replaceChildren(node);
  return { node, X, Y, left, right, top, bottom, width };
}

function realLine({ node, Y, left, right, top, bottom }, real) {
  const y = known(real) ? Y(real) : NaN;
  if (!(y >= top && y <= bottom + 1)) return;
  node.append(svg("path", { class: "floor", d: `M${left} ${y}H${right}` }), svg("text", { x: left + 6, y: y - 5 }, "real data"));
}

// Curves

function interpolate(points, x) {
  let after = points.findIndex(([at]) => at >= x);
  if (after <= 0) return after === 0 && points[0][0] === x ? points[0][1] : null;
  const [[u, a], [v, b]] = [points[after - 1], points[after]];
  return a + ((b - a) * (x - u)) / (v - u);
}

// One group's seeds as points, and mean, least and most (or mean ± sd) where all seeds have been.
function curveOf(group, axis, kind, log, band) {
  const seeds = group.runs.map((id) => runs.get(id)?.curve).filter(known).map((curve) => curve[axis]
    .map((x, i) => [x, curve[kind][i]]).filter(([x, y]) => known(x) && known(y) && (!log || x > 0))).filter(({ length }) => length);
  if (!seeds.length) return { group, seeds, line: [] };
  const [from, to] = [Math.max(...seeds.map((s) => s[0][0])), Math.min(...seeds.map((s) => s.at(-1)[0]))];
  const grid = [...new Set(seeds.flatMap((s) => s.map(([x]) => x)))].filter((x) => x >= from && x <= to).sort((a, b) => a - b);
  const line = grid.map((x) => {
    const values = seeds.map((s) => interpolate(s, x)).filter(known);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    const sd = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / Math.max(1, values.length - 1));
    return { x, mean, low: band === "sd" ? mean - sd : Math.min(...values), high: band === "sd" ? mean + sd : Math.max(...values) };
  });
  return { group, seeds, line };
}

function learning(table, host) {
  const [plot, control] = [host.querySelector(".plot"), (name) => host.querySelector(`[name=${name}]`)];
  const main = table.columns.find(({ key }) => key === table.metric);
  const label = main?.label ?? table.metric;
  const finals = table.groups.flatMap((group) => curveOf(group, "samples", "best", false).line.map(({ mean }) => mean));
  control("logy").checked = Math.min(...finals) > 0 && Math.max(...finals) > 20 * Math.min(...finals);
  let reading = null; // the place of the hair line, as a share of the width

  function draw() {
    const [axis, band] = [control("x").value, control("band").value];
    const [logx, logy] = [control("logx").checked, control("logy").checked];
    const curves = table.groups.filter(visible).map((group) => curveOf(group, axis, control("kind").value, logx, band)).filter(({ line }) => line.length);
    const wide = plot.clientWidth >= 720;
    const made = frame(plot,
      { label: axis === "seconds" ? "training time" : "samples seen", unit: axis === "seconds" ? "s" : "", log: logx, tight: true, values: curves.flatMap(({ line }) => line.map(({ x }) => x)) },
      { label, unit: main?.unit, log: logy, values: [...curves.flatMap(({ line }) => line.flatMap(({ low, high, mean }) => (band === "none" ? [mean] : [low, high]))), ...(curves.length && known(table.real) && (!logy || table.real > 0) ? [table.real] : [])] },
      wide ? 190 : 16);
    const { node, X, Y, bottom, top } = made;
    const clip = (v) => Math.max(top, Math.min(bottom, v));
    const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${X(x).toFixed(1)} ${clip(Y(y)).toFixed(1)}`).join("");
    realLine(made, table.real);
    if (band === "range" || band === "sd") {
      for (const { group, line } of curves) {
        node.append(svg("path", { class: "band", fill: colour(group.name),
          d: `${path([...line.map(({ x, high }) => [x, high]), ...line.map(({ x, low }) => [x, low]).reverse()])}Z` }));
      }
    }
    for (const { group, seeds, line } of curves) {
      const look = { class: "curve", stroke: colour(group.name), "stroke-dasharray": dashes(group.name) };
      if (band === "seeds") node.append(...seeds.map((s) => svg("path", { ...look, class: "curve seed", d: path(s) })));
      node.append(svg("path", { ...look, d: path(line.map(({ x, mean }) => [x, mean])) }));
      node.append(marker(group.name, X(line.at(-1).x), clip(Y(line.at(-1).mean))));
    }
    if (wide) labelEnds(made, curves);
    if (reading !== null) read(made, curves, axis);
  }

  // The hair line, and what the curves are there.
  function read({ node, X, left, right, top, bottom, width }, curves, axis) {
    const x = X.back(left + reading * (right - left));
    const rows = curves.map(({ group, line }) => [group.name, interpolate(line.map((p) => [p.x, p.mean]), x)])
      .filter(([, y]) => known(y)).sort(([, a], [, b]) => (table.lower_is_better ? a - b : b - a));
    node.append(svg("path", { class: "axis", d: `M${X(x)} ${top}V${bottom}` }));
    const beside = X(x) > width / 2 ? { style: `right:${width - X(x) + 12}px` } : { style: `left:${X(x) + 12}px` };
    plot.append(html("div", { class: "tip", "aria-live": "polite", ...beside }, html("strong", {}, number(x, axis === "seconds" ? "s" : "")),
      html("table", {}, html("tbody", {}, ...rows.map(([name, y]) =>
        html("tr", {}, html("th", {}, swatch(name), name), html("td", {}, number(y, main?.unit))))))));
  }

  const at = (share) => { reading = share === null ? null : Math.max(0, Math.min(1, share)); draw(); };
  const room = () => (plot.clientWidth >= 720 ? 190 : 16);
  plot.addEventListener("pointermove", (event) =>
    at((event.clientX - plot.getBoundingClientRect().left - 58) / (plot.clientWidth - room() - 58)));
  for (const leave of ["pointerleave", "blur"]) plot.addEventListener(leave, () => at(null));
  plot.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft" || key === "ArrowRight") at((reading ?? 0.5) + (key === "ArrowLeft" ? -0.025 : 0.025));
    if (key === "Escape") at(null);
  });
  plot.setAttribute("aria-label", `${label} during training; arrow keys read values`);
  return draw;
}

// Names at the ends of the curves, moved apart.
function labelEnds({ node, Y, right, bottom, top }, curves) {
  const places = curves.map(({ group: { name }, line }) => ({ name, y: Y(line.at(-1).mean) })).sort((a, b) => a.y - b.y);
  const gap = Math.min(15, (bottom - top) / Math.max(1, places.length));
  places.forEach((place, i) => { place.y = Math.max(place.y, i ? places[i - 1].y + gap : top); });
  for (let i = places.length - 1; i >= 0; i--) places[i].y = Math.min(places[i].y, i + 1 < places.length ? places[i + 1].y - gap : bottom);
  node.append(...places.map(({ name, y }) => svg("text", { x: right + 10, y: y + 4, style: `fill:${colour(name)}` },
    name.length > 25 ? `${name.slice(0, 24)}…` : name)));
}

// Two columns against each other

function scatter(table, host, x, y, logs) {
  const groups = table.groups.filter((group) => visible(group) && known(group.values[x.key]?.mean) && known(group.values[y.key]?.mean));
  const values = (key) => groups.flatMap((group) => [group.values[key].mean, ...group.values[key].values]).filter(known);
  const named = (column) => column.label + (column.unit && column.unit !== "s" ? ` (${column.unit})` : "");
  const floor = y.key === table.metric && groups.length && known(table.real) && (!logs.y || table.real > 0) ? [table.real] : [];
  const made = frame(host, { label: named(x), unit: x.unit, log: logs.x, values: values(x.key) }, { label: named(y), unit: y.unit, log: logs.y, values: [...values(y.key), ...floor] });
  const { node, X, Y, left, right, top, bottom } = made;
  if (floor.length) realLine(made, table.real);
  const places = groups.map((group) => ({ group, x: X(group.values[x.key].mean), y: Y(group.values[y.key].mean) }));
  const front = [];
  const flip = y.lower_is_better ? 1 : -1;
  for (const place of [...places].sort((a, b) => (x.lower_is_better === false ? b.x - a.x : a.x - b.x))) {
    if (!front.length || flip * place.y > flip * front.at(-1).y) front.push(place);
  }
  node.append(svg("path", { class: "front", d: front.map((p, i) => `${i ? "L" : "M"}${p.x} ${p.y}`).join("") }));
  for (const { group } of places) {
    const [u, v] = [group.values[x.key].values, group.values[y.key].values];
    if (u.length === v.length) node.append(...u.map((_, i) => known(u[i]) && known(v[i]) && marker(group.name, X(u[i]), Y(v[i]), { class: "dot", transform: `translate(${X(u[i])} ${Y(v[i])}) scale(.6)` })).filter(Boolean));
  }
  const taken = places.map((p) => [p.x - 7, p.y - 7, p.x + 7, p.y + 7]);
  for (const p of places) {
    const open = () => openSource(table, p.group, y);
    node.append(marker(p.group.name, p.x, p.y, { tabindex: 0, role: "button", transform: `translate(${p.x} ${p.y}) scale(1.4)`,
      "aria-label": `${p.group.name}: ${y.label} ${number(p.group.values[y.key].mean, y.unit)} at ${x.label} ${number(p.group.values[x.key].mean, x.unit)}`,
      onclick: open, onkeydown: ({ key }) => key === "Enter" && open() }));
    node.lastChild.append(svg("title", {}, node.lastChild.getAttribute("aria-label")));
    // The name goes where nothing is yet, or nowhere.
    const long = 6.6 * p.group.name.length;
    const box = [[p.x + 10, p.y - 8], [p.x - 10 - long, p.y - 8], [p.x - long / 2, p.y - 24], [p.x - long / 2, p.y + 9]]
      .map(([u, v]) => [u, v, u + long, v + 16]).find((b) => b[0] > left && b[2] < right + 12 && b[1] > top - 8 && b[3] < bottom + 4
        && !taken.some((t) => t[0] < b[2] && b[0] < t[2] && t[1] < b[3] && b[1] < t[3]));
    if (!box) continue;
    taken.push(box);
    node.append(svg("text", { class: "name", x: box[0], y: box[1] + 12 }, p.group.name));
  }
}

function cost(table, host) {
  const main = table.columns.find(({ key }) => key === table.metric);
  const order = ["seconds", "parameters", "samples", "peak_memory"];
  const choices = order.map((key) => table.columns.find((column) => column.key === key)).filter(known);
  const control = (name) => host.querySelector(`[name=${name}]`);
  host.hidden = !main || !choices.length;
  if (host.hidden) return () => {};
  control("x").append(...choices.map(({ key, label }) => html("option", { value: key }, label)));
  const means = table.groups.map((group) => group.values[main.key]?.mean).filter(known);
  control("logy").checked = Math.min(...means) > 0 && Math.max(...means) > 10 * Math.min(...means);
  return () => scatter(table, host.querySelector(".plot"), choices.find(({ key }) => key === control("x").value), main,
    { x: control("logx").checked, y: control("logy").checked });
}

function recall(table, host) {
  const precision = table.columns.find(({ key }) => key.startsWith("precision"));
  const other = precision && table.columns.find(({ key }) => key === precision.key.replace("precision", "recall"));
  host.hidden = !other;
  return other ? () => scatter(table, host.querySelector(".plot"), other, precision, {}) : () => {};
}

// Pictures over training

function pictures(table, host) {
  const films = table.groups.map((group) => ({ group, run: group.runs.map((id) => runs.get(id)).find((run) => run?.pictures.length) }))
    .filter(({ run }) => run);
  const times = [...new Set(films.flatMap(({ run }) => run.pictures.map(({ samples }) => samples)))].sort((a, b) => a - b);
  host.hidden = !films.length;
  if (host.hidden) return () => {};
  const [slider, button] = [host.querySelector("[name=time]"), host.querySelector("[name=play]")];
  slider.max = slider.value = times.length - 1;
  for (const film of films) {
    film.image = html("img", { alt: "" });
    film.words = html("div", { class: "quiet" });
    film.figure = html("figure", {}, film.image, html("figcaption", {}, swatch(film.group.name), film.group.name, film.words));
    host.querySelector(".frames").append(film.figure);
  }
  const label = table.columns.find(({ key }) => key === table.metric)?.label ?? table.metric;

  function draw() {
    const time = times[slider.value];
    const said = `${time.toLocaleString("en")} samples`;
    host.querySelector(".time").textContent = said;
    slider.setAttribute("aria-valuetext", said);
    for (const { group, run, image, words, figure } of films) {
      figure.hidden = !visible(group);
      const shown = run.pictures.findLast(({ samples }) => samples <= time) ?? run.pictures[0];
      if (image.getAttribute("src") !== shown.image) image.src = shown.image;
      image.alt = `Samples of ${group.name} after ${shown.samples} samples`;
      const last = run.curve.samples.findLastIndex((samples) => samples <= shown.samples);
      const value = run.curve.value[last];
      words.textContent = [known(value) ? `${label} ${number(value)}` : null,
        shown.samples === time ? null : `at ${number(shown.samples)}`, `seed ${run.seed}`].filter(Boolean).join(", ");
    }
  }
  let playing = null;
  function play(on) {
    clearInterval(playing);
    if (on && Number(slider.value) >= times.length - 1) slider.value = 0;
    playing = on ? setInterval(() => {
      slider.value = Number(slider.value) + 1;
      draw();
      if (Number(slider.value) >= times.length - 1) play(false);
    }, 500) : null;
    button.textContent = on ? "❚❚ stop" : "▶ play";
    button.setAttribute("aria-pressed", String(on));
    draw();
  }
  button.addEventListener("click", () => play(!playing));
  slider.addEventListener("input", () => (playing ? play(false) : draw()));
  return draw;
}

// Settings, pairs, and what was left out

function configs(table) {
  const keys = [...new Set(table.groups.flatMap(({ config }) => Object.keys(config)))].sort();
  const said = (group, key) => (key in group.config ? word(group.config[key]) : "–");
  const columns = keys.map((key) => {
    const counts = new Map();
    for (const group of table.groups) counts.set(said(group, key), (counts.get(said(group, key)) ?? 0) + 1);
    const usual = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
    return { label: key, value: (group) => said(group, key), kind: (group) => `words ${said(group, key) === usual ? "same" : "other"}` };
  });
  return { keys, made: sortable([{ label: "variant", value: ({ name }) => name, cell: ({ name }) => html("span", {}, swatch(name), name) }, ...columns], table.groups) };
}

function pairs(table) {
  const name = (id) => table.groups.find((group) => group.id === id)?.name ?? id;
  const p = (value) => (value < 0.001 ? "< 0.001" : value.toFixed(3));
  const columns = [
    { label: "a", value: ({ a }) => name(a) }, { label: "b", kind: "words", value: ({ b }) => name(b) },
    { label: "a : b", help: "Ratio of the means, or their difference; see the method", value: ({ ratio }) => ratio, cell: ({ ratio }) => number(ratio) },
    { label: "interval", cell: ({ low, high }) => (known(low) ? `${number(low)} … ${number(high)}` : "–") },
    { label: "p", value: (pair) => pair.p, cell: (pair) => (known(pair.p) ? p(pair.p) : "–") },
    { label: "", kind: "words", cell: ({ distinct }) => (distinct ? "different" : "cannot be told apart") },
  ];
  return sortable(columns, table.verdict.pairs, columns[4]).node;
}

const scroll = (node, label) => html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, node);

function section(table) {
  const node = element("section").content.firstElementChild.cloneNode(true);
  const part = (name) => node.querySelector(`.${name}`);
  const main = table.columns.find(({ key }) => key === table.metric);
  node.id = `table-${report.tables.indexOf(table)}`;
  node.querySelector("h2").textContent = `${main?.label ?? table.metric} on ${table.data}`;
  part("protocol").append(html("details", {}, html("summary", {}, `Protocol: ${table.metric}`), listing(flat(table.protocol))));
  part("verdict").append(html("p", {}, table.verdict.text), html("div", { class: "quiet" }, `${table.verdict.method}, level ${table.verdict.alpha}`));
  part("warnings").append(...table.warnings.map((warning) => html("li", {}, warning)));
  const ranked = ranking(table), set = configs(table);
  part("ranking").setAttribute("aria-label", `Ranking, ${table.data}`);
  part("ranking").append(ranked.node);
  part("pairs").append(scroll(pairs(table), "All pairs"));
  part("pairs").hidden = !table.verdict.pairs.length;
  part("configs").append(scroll(set.made.node, "Settings"));
  part("configs").hidden = !set.keys.length;
  const entries = table.groups.map((group) => [group, html("button", { type: "button", onclick() {
    if (!hidden.delete(group.name)) hidden.add(group.name);
    refresh();
  } }, swatch(group.name), group.name)]);
  part("legend").append(...entries.map(([, entry]) => entry), html("button", { type: "button", "aria-label": "Show all variants, or none", onclick() {
    const none = table.groups.every(({ name }) => !hidden.has(name));
    for (const { name } of table.groups) if (none) hidden.add(name); else hidden.delete(name);
    refresh();
  } }, "all / none"));
  element("tables").append(node);
  const parts = [["learning", learning], ["cost", cost], ["recall", recall], ["pictures", pictures]].map(([name, fill]) => {
    const draw = fill(table, part(name));
    part(name).addEventListener("change", draw);
    return draw;
  });
  part("learning").hidden = !table.groups.some((group) => group.runs.some((id) => runs.get(id)?.curve.samples.length));
  const update = () => {
    for (const { row, line } of [...ranked.lines, ...set.made.lines]) {
      line.hidden = !matches(row);
      line.classList.toggle("off", hidden.has(row.name));
    }
    for (const [group, entry] of entries) {
      entry.hidden = !matches(group);
      entry.setAttribute("aria-pressed", String(!hidden.has(group.name)));
    }
    parts.forEach((draw) => draw());
  };
  let width = 0;
  new ResizeObserver(() => { // heights change by drawing
    if (node.clientWidth !== width) parts.forEach((draw) => draw());
    width = node.clientWidth;
  }).observe(node);
  element("contents").append(html("li", {}, html("a", { href: `#${node.id}` }, html("strong", {}, table.data),
    html("span", { class: "quiet" }, `${main?.label ?? table.metric}, ${table.groups.length} variants`))));
  return update;
}

// The page

document.title = element("title").textContent = report.title;
const updates = report.tables.map(section);

function refresh() {
  terms = element("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = report.tables.flatMap((table) => table.groups);
  element("matches").textContent = terms.length ? `${groups.filter(matches).length} of ${groups.length} rows` : "";
  updates.forEach((update) => update());
}

element("left-out").hidden = !report.left_out.length;
element("left-out").append(scroll(sortable([
  { label: "folder", value: ({ folder }) => folder }, { label: "status", kind: "words", value: ({ status }) => status },
  { label: "why", kind: "words long", value: ({ reason }) => reason },
], report.left_out).node, "Runs left out"));
element("notes").append(...report.notes.map((note) => html("p", {}, note)), html("p", { class: "quiet" },
  `Made ${report.created}; variants are told apart by ${report.by.join(", ") || "all settings but the seed"}.`));
if (report.left_out.length) {
  element("contents").append(html("li", {}, html("a", { href: "#left-out" }, html("strong", {}, "Left out"), html("span", { class: "quiet" }, `${report.left_out.length} runs`))));
}
element("contents").append(html("li", {}, html("a", { href: "#notes" }, html("strong", {}, "How to read this"), html("span", { class: "quiet" }, "rules, power of the test"))));

element("filter").addEventListener("input", refresh);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select") || element("source").open) return;
  event.preventDefault();
  element("filter").focus();
});
element("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = (root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.style.colorScheme = dark ? "light" : "dark";
});
element("source").addEventListener("click", (event) => { // on the ground around it
  if (event.target === element("source")) element("source").close();
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
refresh();
