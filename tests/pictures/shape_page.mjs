// Runs a page's script on a document of a few lines, and prints what it draws, as JSON.
import { readFileSync } from "node:fs";

const [file, reduced] = process.argv.slice(2);
const html = readFileSync(file, "utf-8");
const [, data] = html.match(/id="data">(.*?)<\/script>/s);
const [, script] = html.match(/<script>\n(.*?)<\/script>/s);

let frames = [];
const node = (tag) => {
  const made = {
    tag, style: {}, attributes: {}, on: {}, children: [], clientWidth: 96,
    append(...parts) { this.children.push(...parts); },
    setAttribute(name, value) { this.attributes[name] = value; },
    addEventListener(name, act) { this.on[name] = act; },
    setPointerCapture() {},
    getContext: () => ({
      createImageData: (w, h) => ({ data: new Uint8ClampedArray(4 * w * h) }),
      putImageData({ data }) { made.pixels = data; },
    }),
  };
  return made;
};
const nodes = { data: { ...node(), textContent: data } };
const get = (id) => (nodes[id] ??= node());
const scope = {
  document: { getElementById: get, createElement: node },
  matchMedia: () => ({ matches: reduced === "reduced", addEventListener() {} }),
  requestAnimationFrame: (act) => frames.push(act),
  ResizeObserver: class { observe() {} },
};
new Function(...Object.keys(scope), script)(...Object.values(scope));

const shown = get("stage").children.map((figure) => figure.children[0]);
const canvases = shown.filter(({ tag }) => tag === "canvas");
let clock = 0;
// Whatever waits for the next frame, and what is then drawn: red of each pixel, -1 where nothing is.
function frame() {
  const waiting = frames;
  frames = [];
  clock += 50;
  waiting.forEach((act) => act(clock));
  return Array.from({ length: canvases[0].pixels.length / 4 }, (_, i) =>
    canvases[0].pixels[4 * i + 3] ? canvases[0].pixels[4 * i] : -1);
}
const event = (values) => ({ preventDefault() {}, pointerId: 1, target: { tagName: "CANVAS" }, ...values });
const on = (made, name, values) => made.on[name](event(values));
const key = (name) => { on(get("stage"), "keydown", { key: name }); return frame(); };

const out = { spinning: frames.length > 1 };
frame();
frame();
out.spun = frame();
out.home = key("0");
out.left = key("ArrowLeft");
out.back = key("ArrowRight");
out.above = Array.from({ length: 20 }, () => key("ArrowUp")).at(-1);
out.larger = (key("0"), key("+"));
out.smaller = (key("0"), key("-"));
key("0");
on(canvases[0], "pointerdown", { clientX: 10, clientY: 10 });
on(canvases[0], "pointermove", { clientX: 22, clientY: 10 });
out.dragged = frame();
on(canvases[0], "pointerdown", { pointerId: 2, clientX: 10, clientY: 10 });
on(canvases[0], "pointermove", { pointerId: 2, clientX: 22, clientY: 10 + 1.2 });
for (const pointerId of [1, 2]) on(canvases[0], "pointerup", { pointerId });
out.released = (key("0"), on(canvases[0], "pointermove", { clientX: 99, clientY: 99 }), frame());
on(canvases[0], "pointerdown", { clientX: 0, clientY: 0 });
on(canvases[0], "pointerdown", { pointerId: 2, clientX: 10, clientY: 0 });
on(canvases[0], "pointermove", { pointerId: 2, clientX: 12, clientY: 0 });
out.pinched = frame();
out.keys = get("bar").children.map((made) => made.attributes["aria-label"]);
out.captions = get("stage").children.map((figure) => figure.children[1].textContent);
out.tags = shown.map(({ tag }) => tag);
out.title = get("title").textContent;
console.log(JSON.stringify(out));
