// Numbers, looks and plots of the page: SVG without a library. Uses nothing of `page.js`.

const known = (value) => value !== null && value !== undefined;

function build(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") node.style.cssText = value; // the policy forbids the attribute
    else if (known(value)) node.setAttribute(key, value);
  }
  node.append(...children.filter(known));
  return node;
}
const html = (tag, attributes, ...children) =>
  build(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// Numbers

const four = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

function duration(seconds) {
  if (seconds < 59.5) return `${Number(seconds.toPrecision(2))} s`;
  const [unit, large, small] = seconds < 599.5 ? [1, "min", "s"] : [60, "h", "min"];
  const count = Math.round(seconds / unit);
  const parts = [[Math.floor(count / 60), large], [count % 60, small]];
  return parts.filter(([n]) => n).map(([n, name]) => `${n} ${name}`).join(" ");
}

function number(value, unit) {
  if (!known(value)) return "–";
  if (unit === "s") return duration(value);
  if (unit === "bytes") return `${Number((value / 2 ** 30).toPrecision(2))} GiB`;
  return (Math.abs(value) >= 1e4 ? compact : four).format(value);
}

// A mean to so many digits of its standard deviation, and that.
function spread({ mean, sd }, unit, precision) {
  if (!known(mean) || !sd || ["s", "bytes"].includes(unit)) return [number(mean, unit), ""];
  if (Math.abs(mean) >= 1e4) return [number(mean), ` ± ${number(Number(sd.toPrecision(2)))}`];
  const digits = Math.max(0, precision - 1 - Math.floor(Math.log10(sd)));
  return [mean.toFixed(Math.min(6, digits)), ` ± ${sd.toFixed(Math.min(6, digits))}`];
}

// A variant's look by its place: colour; dashes from the ninth on; marker

const DASHES = [null, "7 4", "2 3", "10 3 2 3"];
const MARKERS = [
  "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z", // disc, square, triangle, diamond, triangle, cross, star
  "M-3.6-3.6H3.6V3.6H-3.6Z",
  "M0-4.8L4.6 3.6H-4.6Z",
  "M0-5L5 0L0 5L-5 0Z",
  "M0 4.8L4.6-3.6H-4.6Z",
  "M-1.6-4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6V-1.6H-1.6Z",
  "M0-5.2L1.5-1.6L5-1.6L2.3 .8L3.2 4.4L0 2.3L-3.2 4.4L-2.3 .8L-5-1.6L-1.5-1.6Z",
];
const colour = (place) => `var(--c${place % 8})`;
const dashes = (place) => DASHES[Math.floor(place / 8) % DASHES.length];
const marker = (place, x, y, size = 1, attributes = {}) =>
  svg("path", {
    d: MARKERS[place % MARKERS.length], fill: colour(place),
    transform: `translate(${x} ${y}) scale(${size})`, ...attributes,
  });
const swatch = (place) =>
  svg("svg", { class: "swatch", width: 26, height: 12, "aria-hidden": "true" },
    svg("path", {
      d: "M0 6H26", stroke: colour(place), "stroke-width": 2, "stroke-dasharray": dashes(place),
    }),
    marker(place, 13, 6));

// Axes

const TIMES = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 57600];

// From values to pixels between `from` and `to`; `back` is the way back.
function scale(values, log, from, to, air = 0) {
  const [f, g] = log ? [Math.log, Math.exp] : [(v) => v, (v) => v];
  const good = values.filter((v) => known(v) && (!log || v > 0)).map(f);
  let [low, high] = good.length ? [Math.min(...good), Math.max(...good)] : [0, 1];
  const more = high > low ? air * (high - low) : log ? 0.3 : Math.abs(low) / 10 || 1;
  [low, high] = [low - more, high + more];
  const at = (v) => from + ((f(log ? Math.max(v, 1e-300) : v) - low) / (high - low)) * (to - from);
  const back = (pixel) => g(low + ((pixel - from) / (to - from)) * (high - low));
  return Object.assign(at, { low: g(low), high: g(high), log, back });
}

// Round values on an axis, at least `gap` pixels apart.
function ticks(axis, gap, unit) {
  const { low, high, log } = axis;
  const apart = (list) => list.every((v, i) => !i || Math.abs(axis(v) - axis(list[i - 1])) >= gap);
  const inside = (list) => list.filter((v) => v >= low - 1e-9 * high && v <= high * (1 + 1e-9));
  if (log) {
    const powers = Array.from({ length: 40 }, (_, k) => k - 20);
    const sets = [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]].map((steps) =>
      powers.flatMap((k) => steps.map((s) => Number(`${s}e${k}`))));
    const times = [TIMES, TIMES.filter((_, i) => i % 2), TIMES.filter((_, i) => i % 3 === 0)];
    const found = (unit === "s" ? times : sets).map(inside).find((set) => apart(set));
    if (found?.length >= 2) return found;
  }
  const rough = ((high - low) * gap) / Math.abs(axis(high) - axis(low));
  const power = 10 ** Math.floor(Math.log10(rough));
  const time = unit === "s" && TIMES.find((t) => t >= rough);
  const step = time || [1, 2, 2.5, 5, 10].find((s) => s * power >= rough * 0.999) * power;
  const count = Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1;
  if (!(count < 1000)) return []; // of numbers that differ by less than they can be told
  const all = Array.from({ length: count }, (_, k) => (Math.ceil(low / step - 1e-9) + k) * step);
  const shown = all.map((v) => Number(v.toPrecision(10)));
  return apart(shown) ? shown : [shown[0], shown.at(-1)];
}

// An empty plot in `host`; x and y are {label, unit, log, values}, `room` is kept at the right.
function frame(host, x, y, room = 16) {
  const width = Math.max(280, host.clientWidth);
  const height = Math.round(Math.min(400, Math.max(260, width * 0.55)));
  const [left, right, top, bottom] = [56, width - room, 24, height - 42];
  const X = scale(x.values, x.log, left, right, x.air ?? 0.05);
  const Y = scale(y.values, y.log, bottom, top, 0.05);
  const rows = ticks(Y, 34, y.unit).flatMap((v) => [
    svg("path", { class: "grid", d: `M${left} ${Y(v)}H${right}` }),
    svg("text", { x: left - 8, y: Y(v) + 4, "text-anchor": "end" }, number(v, y.unit)),
  ]);
  const columns = ticks(X, x.unit === "s" ? 70 : 62, x.unit).flatMap((v) => [
    svg("path", { class: "axis", d: `M${X(v)} ${bottom}v5` }),
    svg("text", { x: X(v), y: bottom + 19, "text-anchor": "middle" }, number(v, x.unit)),
  ]);
  const label = `${y.label} against ${x.label}`;
  const node = svg("svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label },
    ...rows, ...columns,
    svg("path", { class: "axis", d: `M${left} ${bottom}H${right}` }),
    svg("text", { x: right, y: height - 6, "text-anchor": "end" }, x.label),
    svg("text", { x: 4, y: 14 }, y.label));
  host.replaceChildren(node);
  if (known(y.real) && y.values.includes(y.real)) {
    node.append(svg("path", { class: "floor", d: `M${left} ${Y(y.real)}H${right}` }),
      svg("text", { x: left + 6, y: Y(y.real) - 5 }, "real data"));
  }
  return { node, X, Y, left, right, top, bottom, width };
}

// Curves of seeds

function interpolate(points, x) {
  let [low, high] = [0, points.length - 1];
  if (x < points[low][0] || x > points[high][0]) return null;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= x) low = middle;
    else high = middle;
  }
  const [[u, a], [v, b]] = [points[low], points[high]];
  return v > u ? a + ((b - a) * (x - u)) / (v - u) : b;
}

// Each seed's points, and [x, mean, low, high] where all seeds have been.
function seedCurves(curves, axis, kind, log, band) {
  const seeds = curves.map((curve) =>
    curve[axis].map((x, i) => [x, curve[kind][i]])
      .filter(([x, y]) => known(x) && known(y) && (!log || x > 0)))
    .filter((points) => points.length);
  const from = Math.max(...seeds.map((points) => points[0][0]));
  const to = Math.min(...seeds.map((points) => points.at(-1)[0]));
  const places = new Set(seeds.flatMap((points) => points.map(([x]) => x)));
  const line = [...places].filter((x) => x >= from && x <= to).sort((a, b) => a - b).map((x) => {
    const values = seeds.map((points) => interpolate(points, x));
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
    const sd = Math.sqrt(squares / Math.max(1, values.length - 1));
    return band === "sd" ? [x, mean, mean - sd, mean + sd]
      : [x, mean, Math.min(...values), Math.max(...values)];
  });
  return { seeds, line };
}

// Draws `curves`, a list of {name, place, seeds, line}; returns the frame.
function drawCurves(host, curves, x, y, band) {
  const wide = host.clientWidth >= 720;
  const made = frame(host, x, y, wide ? 190 : 16);
  const { node, X, Y, top, bottom } = made;
  const height = (v) => Math.max(top, Math.min(bottom, Y(v)));
  const path = (points) =>
    `M${points.map(([u, v]) => `${X(u).toFixed(1)} ${height(v).toFixed(1)}`).join("L")}`;
  if (band === "range" || band === "sd") {
    for (const { place, line } of curves) {
      const there = line.map(([u, , , high]) => [u, high]);
      const back = line.map(([u, , low]) => [u, low]).reverse();
      node.append(svg("path",
        { class: "band", fill: colour(place), d: `${path([...there, ...back])}Z` }));
    }
  }
  for (const { place, seeds, line } of curves) {
    const look = { class: "curve", stroke: colour(place), "stroke-dasharray": dashes(place) };
    if (band === "seeds") {
      node.append(...seeds.map((s) => svg("path", { ...look, class: "curve seed", d: path(s) })));
    }
    node.append(svg("path", { ...look, d: path(line) }));
    node.append(marker(place, X(line.at(-1)[0]), height(line.at(-1)[1])));
  }
  if (wide) labelEnds(made, curves);
  return made;
}

// Names at the ends of the curves, moved apart.
function labelEnds({ node, X, Y, right, bottom, top }, curves) {
  const ends = curves.map(({ name, place, line }) => {
    const [x, mean] = line.at(-1);
    return { name, place, from: `${X(x) + 6} ${Y(mean)}`, y: Y(mean) };
  }).sort((a, b) => a.y - b.y);
  const gap = Math.min(15, (bottom - top) / Math.max(1, ends.length));
  ends.forEach((end, i) => {
    end.y = Math.max(end.y, i ? ends[i - 1].y + gap : top);
  });
  [...ends].reverse().forEach((end, i, all) => {
    end.y = Math.min(end.y, i ? all[i - 1].y - gap : bottom);
  });
  node.append(...ends.flatMap(({ name, place, from, y }) => [
    svg("path", { class: "lead", d: `M${from}L${right + 12} ${y}`, stroke: colour(place) }),
    svg("text", { x: right + 15, y: y + 4, style: `fill:${colour(place)}` },
      name.length > 24 ? `${name.slice(0, 23)}…` : name),
  ]));
}

// Two numbers against each other

// Draws `points`, a list of {name, place, x, y, title, open, seeds: [[x, y], ...]}; the dashed
// line joins those that no other one beats in both.
function drawScatter(host, points, x, y) {
  const { node, X, Y, left, right, top, bottom } = frame(host, x, y);
  const at = points.map((point) => ({ ...point, u: X(point.x), v: Y(point.y) }));
  const gain = (axis, value) => (axis.lower_is_better === false ? -value : value);
  const cheap = (a, b) => gain(x, a.x) - gain(x, b.x) || gain(y, a.y) - gain(y, b.y);
  const front = [];
  for (const point of [...at].sort(cheap)) {
    if (!front.length || gain(y, point.y) < gain(y, front.at(-1).y)) front.push(point);
  }
  const way = front.map(({ u, v }) => `${u} ${v}`).join("L");
  node.append(svg("path", { class: "front", d: way && `M${way}` }));
  for (const { place, seeds } of at) {
    node.append(...seeds.map(([a, b]) => marker(place, X(a), Y(b), 0.6, { class: "dot" })));
  }
  const taken = at.map(({ u, v }) => [u - 7, v - 7, u + 7, v + 7]);
  for (const { name, place, u, v, title, open } of at) {
    const press = ({ key }) => key === "Enter" && open();
    const shape = marker(place, u, v, 1.4,
      { tabindex: 0, role: "button", "aria-label": title, onclick: open, onkeydown: press });
    shape.append(svg("title", {}, title));
    node.append(shape);
    // The name goes where nothing is yet, or nowhere.
    const long = 6.8 * name.length;
    const corners = [[10, -8], [-10 - long, -8], [-long / 2, -24], [-long / 2, 9]];
    const box = corners.map(([a, b]) => [u + a, v + b, u + a + long, v + b + 16]).find((b) =>
      b[0] > left && b[2] < right + 12 && b[1] > top - 8 && b[3] < bottom + 4
      && !taken.some((t) => t[0] < b[2] && b[0] < t[2] && t[1] < b[3] && b[1] < t[3]));
    if (!box) continue;
    taken.push(box);
    node.append(svg("text", { class: "name", x: box[0], y: box[1] + 12 }, name));
  }
}

// A table row's seeds on the axis of all rows: dots, the mean, dotted the real data.
function drawStrip(axis, width, { mean, values }, place, real) {
  const tick = (value, look) => svg("path", { d: `M${axis(value)} 2V18`, ...look });
  return svg("svg", { class: "strip", width, height: 20, "aria-hidden": "true" },
    svg("path", { d: `M0 10H${width}`, class: "grid" }),
    known(real) ? tick(real, { class: "floor" }) : null,
    ...values.filter(known).map((value) =>
      svg("circle", { cx: axis(value), cy: 10, r: 3.5, fill: colour(place), opacity: 0.6 })),
    known(mean) ? tick(mean, { stroke: colour(place), "stroke-width": 2 }) : null);
}
