// Runs a page's script on a document of a few lines, and prints what it draws, as JSON.
import { readFileSync } from "node:fs";

const [file, reduced] = process.argv.slice(2);
const html = readFileSync(file, "utf-8");
const [, data] = html.match(/id="data">(.*?)<\/script>/s);
const [, script] = html.match(/<script>\n(.*?)<\/script>/s);

let dots = [], frames = [];
const ink = {
  scale() {}, beginPath() {}, moveTo() {}, lineTo() {}, stroke() {}, fillText() {}, fill() {},
  drawImage(...place) { drawn = place.slice(1, 5); },
  arc(x, y) { dots.push({ x, y, colour: this.fillStyle }); },
};
let drawn = null;
const node = () => ({
  style: {}, attributes: {}, on: {}, children: [], clientWidth: 400, clientHeight: 400,
  offsetWidth: 0, offsetHeight: 0,
  append(...parts) { this.children.push(...parts); },
  setAttribute(name, value) { this.attributes[name] = value; },
  addEventListener(name, act) { this.on[name] = act; },
  getContext: () => ink,
  getBoundingClientRect: () => ({ left: 0, top: 0 }),
  setPointerCapture() {},
});
const nodes = { data: { ...node(), textContent: data } };
const get = (id) => (nodes[id] ??= node());
const scope = {
  document: { getElementById: get, createElement: node, documentElement: {} },
  matchMedia: (query) => ({ matches: query.includes("motion") && reduced === "reduced", addEventListener() {} }),
  requestAnimationFrame: (act) => frames.push(act),
  getComputedStyle: () => ({ getPropertyValue: () => "line" }),
  ResizeObserver: class { observe() {} },
  Image: class {},
  devicePixelRatio: 1, innerWidth: 400, innerHeight: 400,
};
new Function(...Object.keys(scope), script)(...Object.values(scope));

let clock = 0;
// Whatever waits for the next frame, and what is then on the screen.
function frame() {
  const waiting = frames;
  [frames, dots] = [[], []];
  clock += 50;
  waiting.forEach((act) => act(clock));
  return dots;
}
const event = (values) => ({ preventDefault() {}, pointerId: 1, ...values });
const fire = (id, name, values) => get(id).on[name](event(values));
const click = (text) => {
  get("bar").children.find((made) => made.children.includes(text)).on.click();
  return frame();
};

const out = { start: dots };
frame();
out.spun = frame();
out.spinning = frames.length > 0;
fire("plot", "keydown", { key: "ArrowLeft" });
frame();
out.keyed = frame().length ? "drawn again" : "still";
fire("plot", "keydown", { key: "0" });
out.home = frame();
fire("plot", "pointerdown", { clientX: 100, clientY: 100 });
fire("plot", "pointermove", { clientX: 150, clientY: 100 });
fire("plot", "pointerup", { clientX: 150, clientY: 399 });
out.dragged = frame();
fire("plot", "keydown", { key: "0" });
frame();
fire("plot", "wheel", { deltaY: -300 });
out.enlarged = frame();
fire("plot", "keydown", { key: "0" });
frame();
const first = JSON.parse(data).classes[0];
out.hidden = click(first);
out.pressed = get("bar").children[0].attributes["aria-pressed"];
out.again = click(first);
const last = out.again.at(-1);
fire("plot", "pointermove", { clientX: last.x + 2, clientY: last.y });
out.words = get("words").textContent;
out.thumbnail = drawn;
out.title = get("title").textContent;
console.log(JSON.stringify(out));
