"use strict";
// The case viewer. A pixel's level is the number of thresholds below its value: level > k means map > threshold k.

const data = JSON.parse(document.getElementById("viewer-data").textContent);
const place = document.getElementById("viewer");
const waiting = new Map();
const HIT = [0, 158, 115], FALSE_ALARM = [230, 159, 0], MISS = [86, 180, 233];
const ORDERS = {
  "worst first": (a, b) => rank(a, 1) - rank(b, 1),
  "best first": (a, b) => rank(a, -1) - rank(b, -1),
  "healthy, highest score first": (a, b) => a.lesion - b.lesion || (b.score ?? -1e9) - (a.score ?? -1e9),
  "by name": (a, b) => a.name.localeCompare(b.name, "en", { numeric: true }),
};
const rank = (item, sign) => (item.ap === null ? 9 : sign * item.ap);

// Called by the script of a case.
window.uadbenchCase = (name, content) => {
  waiting.get(name)?.resolve(content);
};

function load(name) {
  if (!waiting.has(name)) {
    const entry = {};
    entry.promise = new Promise((resolve, reject) => { entry.resolve = resolve; entry.reject = reject; });
    waiting.set(name, entry);
    const script = document.createElement("script");
    script.src = `${data.root}${name}.js`;
    script.onerror = () => { waiting.delete(name); entry.reject(new Error(`case file ${name} is missing`)); };
    document.head.append(script);
    entry.decoded = entry.promise.then(decode);
  }
  return waiting.get(name).decoded;
}

async function decode(content) {
  const planes = {};
  for (const name of ["levels", "labels", "image", "reconstruction"]) {
    planes[name] = content[name] ? await inflate(content[name]) : null;
  }
  // Pixels above each threshold, lesion or not: Dice then costs one look-up a threshold.
  const top = data.thresholds.length;
  const lesion = new Float64Array(top + 2), healthy = new Float64Array(top + 2);
  for (let i = 0; i < planes.levels.length; i += 1) {
    if (planes.labels[i] & 1) (planes.labels[i] & 2 ? lesion : healthy)[planes.levels[i]] += 1;
  }
  for (let k = top; k >= 0; k -= 1) { lesion[k] += lesion[k + 1]; healthy[k] += healthy[k + 1]; }
  return { ...content, ...planes, lesion, healthy };
}

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function labelled(words, control, wide = false) {
  return element("label", wide ? { class: "wide" } : {}, element("span", {}, words), control);
}

const order = element("select", { id: "order" }, ...Object.keys(ORDERS).map((name) => new Option(name)));
const chosen = element("select", { id: "case" });
const back = element("button", { type: "button", class: "plain", id: "previous", "aria-label": "previous case" }, "←");
const forth = element("button", { type: "button", class: "plain", id: "next", "aria-label": "next case" }, "→");
const threshold = element("input", { type: "range", id: "threshold", min: "0", max: String(data.thresholds.length - 1) });
const rule = element("select", { id: "rule" }, new Option("chosen by hand", ""),
  ...Object.keys(data.named).map((name) => new Option(name)));
const slice = element("input", { type: "range", id: "slice", min: "0", value: "0" });
const blend = element("input", { type: "range", id: "blend", min: "0", max: "100", value: "50" });
const side = element("input", { type: "radio", name: "mode", id: "side", checked: "" });
const blended = element("input", { type: "radio", name: "mode", id: "blended" });
const dice = element("output", { id: "dice", for: "threshold" });
const value = element("output", { id: "value", for: "threshold" });
const note = element("p", { role: "status", class: "muted", id: "state" });
const panels = element("div", { class: "panels" });
const sliceLabel = labelled("slice", slice, true), blendLabel = labelled("truth and prediction over the input", blend, true);
place.append(
  element("div", { class: "controls" }, labelled("order", order),
    element("div", { class: "steps" }, back, labelled("case", chosen), forth),
    element("fieldset", {}, element("legend", { class: "hidden" }, "view"),
      element("label", {}, side, " side by side"), element("label", {}, blended, " blended"))),
  element("div", { class: "controls" }, labelled("threshold", threshold, true), labelled("threshold from", rule)),
  element("div", { class: "controls" }, sliceLabel, blendLabel),
  element("p", { class: "score" }, element("span", {}, "Dice ", dice), element("span", {}, "threshold ", value)),
  panels,
  element("p", { class: "key" }, element("span", {}, element("i", { class: "hit" }), "lesion found"),
    element("span", {}, element("i", { class: "miss" }), "lesion missed"),
    element("span", {}, element("i", { class: "false" }), "false alarm")),
  note,
);

let current = null, currentItem = null, asked = 0, frame = 0;

function fill() {
  const kept = chosen.value;
  const items = [...data.cases].sort(ORDERS[order.value]);
  chosen.replaceChildren(...items.map((item) => {
    const about = item.ap === null ? "healthy" : `AP ${item.ap.toFixed(3)}`;
    return new Option(`${item.name} (${item.kind ? `${item.kind}, ` : ""}${about})`, item.file);
  }));
  return kept;
}

async function show() {
  const turn = (asked += 1);
  const item = data.cases.find((each) => each.file === chosen.value);
  try {
    const found = await load(item.file);
    if (turn !== asked) return;
    current = found;
    currentItem = item;
    slice.max = String(found.slices - 1);
    slice.value = String(item.slice);
    sliceLabel.hidden = found.slices < 2;
    note.textContent = "";
    draw();
  } catch (error) {
    if (turn === asked) note.textContent = `This case cannot be shown: ${error.message}.`;
  }
}

function scoreText(k) {
  const hits = current.lesion[k + 1], alarms = current.healthy[k + 1], all = current.lesion[0];
  if (all === 0) return `– (healthy; ${(100 * alarms / current.healthy[0]).toFixed(2)} % of its pixels are false alarms)`;
  return (2 * hits / (hits + alarms + all)).toFixed(3);
}

function draw() {
  if (!current) return;
  const k = Number(threshold.value);
  dice.textContent = scoreText(k);
  const name = Object.keys(data.named).find((each) => data.named[each] === k);
  rule.value = name ?? "";
  value.textContent = String(Number(data.thresholds[k].toPrecision(4)));
  threshold.setAttribute("aria-valuetext", `${value.textContent}, Dice ${dice.textContent}`);
  const size = current.height * current.width, start = Number(slice.value) * size;
  slice.setAttribute("aria-valuetext", `${Number(slice.value) + 1} of ${current.slices}`);
  blendLabel.hidden = !blended.checked;
  const grey = (plane) => (i, out) => { out[0] = out[1] = out[2] = plane ? plane[start + i] : 0; };
  const marked = (weight) => (i, out) => {
    grey(current.image)(i, out);
    const bits = current.labels[start + i];
    if (!(bits & 1)) return;
    const hit = current.levels[start + i] > k, lesion = bits & 2;
    if (!hit && !lesion) return;
    const colour = hit && lesion ? HIT : hit ? FALSE_ALARM : MISS;
    for (let c = 0; c < 3; c += 1) out[c] = (1 - weight) * out[c] + weight * colour[c];
  };
  const low = data.thresholds[0], span = data.thresholds.at(-1) - low || 1;
  const heat = (i, out) => {
    if (!(current.labels[start + i] & 1)) { out[0] = out[1] = out[2] = 0; return; }
    const level = current.levels[start + i];
    const share = level === 0 ? 0 : (data.thresholds[level - 1] - low) / span;
    const colour = data.colours[Math.round(255 * share)];
    for (let c = 0; c < 3; c += 1) out[c] = colour[c];
  };
  const truth = (i, out) => { out[0] = out[1] = out[2] = current.labels[start + i] & 2 ? 255 : 0; };
  const wanted = blended.checked
    ? [["input with truth and prediction", marked(Number(blend.value) / 100)]]
    : [["input", grey(current.image)], ...(current.reconstruction ? [["reconstruction", grey(current.reconstruction)]] : []),
      ["anomaly map", heat], ["truth", truth], ["prediction against truth", marked(0.65)]];
  paint(wanted);
}

function paint(wanted) {
  if (panels.childElementCount !== wanted.length) {
    panels.replaceChildren(...wanted.map(() => element("figure", {}, element("canvas", { role: "img" }), element("figcaption"))));
    panels.dataset.count = String(wanted.length);
  }
  wanted.forEach(([title, pixel], n) => {
    const [canvas, caption] = panels.children[n].children;
    caption.textContent = title;
    canvas.setAttribute("aria-label", `${title} of ${currentItem.name}`);
    canvas.width = current.width;
    canvas.height = current.height;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(current.width, current.height);
    const out = [0, 0, 0];
    for (let i = 0; i < current.width * current.height; i += 1) {
      pixel(i, out);
      picture.data.set(out, 4 * i);
      picture.data[4 * i + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
  });
}

// A slider may fire faster than the screen: one drawing a frame.
function soon() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(draw);
}

function step(by) {
  const next = Math.min(Math.max(chosen.selectedIndex + by, 0), chosen.options.length - 1);
  if (next !== chosen.selectedIndex) {
    chosen.selectedIndex = next;
    show();
  }
}

order.addEventListener("change", () => { fill(); chosen.selectedIndex = 0; show(); });
chosen.addEventListener("change", show);
back.addEventListener("click", () => step(-1));
forth.addEventListener("click", () => step(1));
for (const control of [threshold, slice, blend]) control.addEventListener("input", soon);
for (const control of [side, blended]) control.addEventListener("change", draw);
rule.addEventListener("change", () => { if (rule.value) threshold.value = String(data.named[rule.value]); draw(); });
threshold.value = String(data.named[data.headline] ?? data.thresholds.length - 1);
fill();
show();
