// Draws attention weights: all heads as small images, and the selected one as lines or as a matrix.

const { layers, heads, tokens, added, parts } = data;
const count = tokens.length;
const MEAN = heads; // the "head" after the last one
const FAINT = 0.01; // lines below are not drawn, unless all weights of the head are small
const PLAIN = 0.25; // the largest weight of a head is drawn at least as strong as this one

// --- Numbers ---------------------------------------------------------------------------------------------------------

const dense = data.weights && numbers(Uint16Array, data.weights);
const values = data.values && numbers(Uint16Array, data.values);
const columns = data.columns && numbers(Uint16Array, data.columns);
const starts = data.counts && numbers(Uint16Array, data.counts).reduce((sums, length, row) => ((sums[row + 1] = sums[row] + length), sums), new Uint32Array(layers * heads * count + 1));

/** Call `visit(from, to, weight)` for each stored weight of a head. */
function each(layer, head, visit) {
  const first = (layer * heads + head) * count;
  for (let from = 0; from < count; from++) {
    const row = first + from;
    if (dense) for (let to = 0; to < count; to++) visit(from, to, dense[row * count + to] / 65535);
    else for (let k = starts[row]; k < starts[row + 1]; k++) visit(from, columns[k], values[k] / 65535);
  }
}

const matrices = new Map(); // of the heads that were shown last

/** Weights of one head, or of the mean of a layer's heads: from token i to token j at i * count + j. */
function matrixOf(layer, head) {
  const key = layer * (heads + 1) + head;
  const matrix = matrices.get(key) ?? new Float32Array(count * count);
  if (!matrices.delete(key)) {
    const all = head === MEAN ? [...Array(heads).keys()] : [head];
    for (const one of all) each(layer, one, (from, to, weight) => (matrix[from * count + to] += weight / all.length));
  }
  matrices.set(key, matrix); // again, as the newest
  if (matrices.size > 8) matrices.delete(matrices.keys().next().value);
  return matrix;
}

// --- State ----------------------------------------------------------------------------------------------------------

const state = { layer: 0, head: 0, view: "lines", withoutAdded: false, between: "", side: null, token: null, pinned: false };
let colors = {};
const readColors = () => (colors = schemeColors("accent", "ink", "soft", "line", "raised"));
const css = (name, alpha = 1) => `rgb(${colors[name].join(" ")} / ${alpha})`;
const shade = (weight) => Math.sqrt(weight); // most weights are small

const shown = () => [...tokens.keys()].filter((index) => !(state.withoutAdded && added[index]));
/** Whether weights from one token to another are shown, of two texts. */
const between = (from, to) => !state.between || state.between === `${parts[from]} ${parts[to]}`;
const titleOf = (layer, head) => `Layer ${layer + 1}, ${head === MEAN ? "mean of heads" : `head ${head + 1}`}`;

// --- All heads -------------------------------------------------------------------------------------------------------

const buttons = [];

function buildOverview() {
  const grid = $(".heads");
  grid.append(make("span"));
  for (let head = 0; head < heads; head++) grid.append(make("span", { textContent: head + 1 }));
  grid.append(make("span", { className: "mean", textContent: "avg", title: "mean over heads" }));
  for (let layer = 0; layer < layers; layer++) {
    grid.append(make("span", { className: "row", textContent: layer + 1 }));
    for (let head = 0; head <= heads; head++) {
      const button = make("button", { type: "button", className: head === MEAN ? "mean" : "" }, make("canvas"));
      button.title = titleOf(layer, head);
      button.ariaLabel = titleOf(layer, head);
      button.addEventListener("click", () => update({ layer, head }));
      buttons.push(button);
      grid.append(button);
    }
  }
  grid.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const layer = Math.min(Math.max(state.layer + step[0], 0), layers - 1);
    const head = Math.min(Math.max(state.head + step[1], 0), heads);
    update({ layer, head });
    buttons[layer * (heads + 1) + head].focus();
  });
}

function paintOverview() {
  const indices = shown();
  const side = Math.min(indices.length, 40); // the largest of several weights in one dot is shown
  const dot = new Int32Array(count).fill(-1);
  indices.forEach((index, i) => (dot[index] = Math.floor((i * side) / indices.length)));
  buttons.forEach((button, number) => {
    const largest = new Float32Array(side * side);
    const paint = (from, to, weight) => {
      if (dot[from] < 0 || dot[to] < 0 || !between(from, to)) return;
      const place = dot[from] * side + dot[to];
      if (weight > largest[place]) largest[place] = weight;
    };
    const [layer, head] = [Math.floor(number / (heads + 1)), number % (heads + 1)];
    if (head !== MEAN) each(layer, head, paint);
    else matrixOf(layer, head).forEach((weight, k) => weight && paint(Math.floor(k / count), k % count, weight));
    const image = new ImageData(side, side);
    largest.forEach((weight, place) => image.data.set([...colors.accent, 255 * shade(weight)], 4 * place));
    const canvas = button.firstChild;
    canvas.width = canvas.height = side;
    canvas.getContext("2d").putImageData(image, 0, 0);
  });
}

function buildStriking() {
  $(".striking")?.append(
    ...data.striking.map(({ layer, head, pattern, share }) => {
      const button = make("button", { type: "button" }, `${pattern}: layer ${layer + 1}, head ${head + 1}`, make("span", { className: "value", textContent: percent(share) }));
      button.addEventListener("click", () => update({ layer, head }));
      return make("li", {}, button);
    }),
  );
}

// --- One head as lines -----------------------------------------------------------------------------------------------

function buildLines() {
  for (const side of ["from", "to"]) {
    const list = $(`.lines .${side}`);
    list.replaceChildren(
      ...shown().map((index) => {
        const label = make("span", { textContent: tokens[index] });
        const button = make("button", { type: "button" }, label, make("span", { className: "value" }));
        button.classList.toggle("added", added[index]);
        button.dataset.token = index;
        if (count > 200) button.title = `token ${index + 1}`;
        button.addEventListener("pointerenter", () => state.pinned || update({ side, token: index }));
        button.addEventListener("click", () => {
          const again = state.pinned && state.side === side && state.token === index;
          update({ side, token: index, pinned: !again });
        });
        return make("li", { className: parts[index] === 1 ? "second" : "" }, button);
      }),
    );
  }
}

function drawLines() {
  const matrix = matrixOf(state.layer, state.head);
  const indices = shown();
  const canvas = $(".lines canvas");
  const { height } = canvas.parentElement.querySelector(".from").getBoundingClientRect(); // that of its tokens alone
  const wide = canvas.clientWidth;
  canvas.style.height = `${height}px`;
  const context = sized(canvas, wide, height);
  const step = height / indices.length;
  context.strokeStyle = css("accent");
  const largest = matrix.reduce((most, weight) => Math.max(most, weight), 0);
  const [least, strength] = [Math.min(FAINT, largest / 10), Math.max(1, PLAIN / largest)]; // a long text has small weights
  indices.forEach((from, i) => {
    if (state.side === "from" && state.token !== from) return;
    indices.forEach((to, j) => {
      if (state.side === "to" && state.token !== to) return;
      const weight = matrix[from * count + to];
      if (weight < least || !between(from, to)) return;
      const [start, end] = [(i + 0.5) * step, (j + 0.5) * step];
      context.globalAlpha = state.side ? 0.25 + 0.75 * shade(weight) : weight * strength;
      context.lineWidth = 0.75 + (state.side ? 3.5 : 1.75) * weight;
      context.beginPath();
      context.moveTo(0, start);
      context.bezierCurveTo(wide / 2, start, wide / 2, end, wide, end);
      context.stroke();
    });
  });
  for (const side of ["from", "to"]) {
    for (const button of document.querySelectorAll(`.lines .${side} button`)) {
      const index = Number(button.dataset.token);
      const other = state.side && state.side !== side;
      const weight = side === "to" ? matrix[state.token * count + index] : matrix[index * count + state.token];
      button.ariaPressed = String(state.side === side && state.token === index);
      button.style.setProperty("--weight", other ? `${(100 * weight).toFixed(2)}%` : "0%");
      button.lastChild.textContent = other ? percent(weight) : "";
    }
  }
}

// --- One head as a matrix --------------------------------------------------------------------------------------------

let cells = { size: 0, left: 0, top: 0 };

function drawMatrix(pointed = null) {
  const matrix = matrixOf(state.layer, state.head);
  const indices = shown();
  const frame = $(".matrix");
  const canvas = frame.firstChild;
  const font = `12px ${getComputedStyle(document.querySelector(".lines button")).fontFamily}`;
  const measure = canvas.getContext("2d");
  measure.font = font;
  const label = (index) => (tokens[index].length > 14 ? `${tokens[index].slice(0, 13)}…` : tokens[index]);
  const labeled = indices.length <= 90; // of more tokens, labels would cover each other; the readout names a cell
  const longest = labeled ? Math.max(...indices.map((index) => measure.measureText(label(index)).width)) : 0;
  const left = labeled ? Math.ceil(longest) + 10 : 0;
  const room = Math.max(frame.clientWidth - left - longest * 0.5, 0);
  const size = Math.min(Math.max(Math.floor(room / indices.length), labeled ? 13 : 2), 30);
  const top = labeled ? Math.ceil(longest * 0.82) + 16 : 0;
  const side = size * indices.length;
  cells = { size, left, top };
  canvas.style.width = `${left + side + Math.ceil(longest * 0.6)}px`;
  canvas.style.height = `${top + side + 2}px`;
  const context = sized(canvas, left + side + Math.ceil(longest * 0.6), top + side + 2);
  context.font = font;
  context.textBaseline = "middle";
  context.fillStyle = css("raised");
  context.fillRect(left, top, side, side);
  indices.forEach((from, i) => {
    indices.forEach((to, j) => {
      const weight = matrix[from * count + to];
      if (!weight || !between(from, to)) return;
      context.fillStyle = css("accent", shade(weight));
      context.fillRect(left + j * size, top + i * size, size - (labeled ? 1 : 0), size - (labeled ? 1 : 0));
    });
    if (!labeled) return;
    context.textAlign = "right";
    context.fillStyle = css(pointed && pointed.i === i ? "ink" : "soft");
    context.fillText(label(from), left - 6, top + (i + 0.5) * size);
    context.save();
    context.translate(left + (i + 0.5) * size, top - 6);
    context.rotate(-Math.PI / 3.4);
    context.textAlign = "left";
    context.fillStyle = css(pointed && pointed.j === i ? "ink" : "soft");
    context.fillText(label(from), 0, 0);
    context.restore();
  });
  if (pointed) {
    context.strokeStyle = css("ink");
    context.lineWidth = 1.5;
    context.strokeRect(left + pointed.j * size - 0.5, top + pointed.i * size - 0.5, size, size);
  }
  frame.ariaLabel = `${titleOf(state.layer, state.head)}: rows attend to columns`;
}

function pointAt(event) {
  const indices = shown();
  const box = $(".matrix canvas").getBoundingClientRect();
  const i = Math.floor((event.clientY - box.top - cells.top) / cells.size);
  const j = Math.floor((event.clientX - box.left - cells.left) / cells.size);
  const inside = i >= 0 && j >= 0 && i < indices.length && j < indices.length;
  drawMatrix(inside ? { i, j } : null);
  if (!inside) return say();
  const weight = matrixOf(state.layer, state.head)[indices[i] * count + indices[j]];
  say(make("b", { textContent: tokens[indices[i]] }), " attends to ", make("b", { textContent: tokens[indices[j]] }), `: ${percent(weight)}`);
}

// --- As text ----------------------------------------------------------------------------------------------------------

function say(...parts) {
  $(".readout").replaceChildren(...(parts.length ? parts : asText()));
}

function asText() {
  if (state.view === "matrix") return ["Rows attend to columns. Hover over a cell."];
  if (state.side === null) return ["Left attends to right. Hover over a token, or click to pin it."];
  const matrix = matrixOf(state.layer, state.head);
  const weight = (index) => (state.side === "from" ? matrix[state.token * count + index] : matrix[index * count + state.token]);
  const most = shown().sort((one, other) => weight(other) - weight(one)).slice(0, 3);
  const token = (index) => make("b", { textContent: tokens[index] });
  const listed = most.flatMap((index, place) => [place ? ", " : "", token(index), ` ${percent(weight(index))}`]);
  return [token(state.token), state.side === "from" ? " attends most to " : " is attended to most by ", ...listed];
}

// --- Together --------------------------------------------------------------------------------------------------------

function update(changes) {
  const before = { ...state };
  Object.assign(state, changes);
  if (state.withoutAdded !== before.withoutAdded) {
    if (state.withoutAdded && added[state.token]) Object.assign(state, { side: null, token: null, pinned: false });
    buildLines();
  }
  if (state.withoutAdded !== before.withoutAdded || state.between !== before.between) paintOverview();
  const query = new URLSearchParams({ layer: state.layer + 1, head: state.head === MEAN ? "mean" : state.head + 1, view: state.view });
  if (location.hash.slice(1) !== `${query}`) history.replaceState(null, "", `#${query}`);
  draw();
}

function draw() {
  const chosen = state.layer * (heads + 1) + state.head;
  buttons.forEach((button, number) => {
    button.ariaPressed = String(number === chosen);
    button.tabIndex = number === chosen ? 0 : -1;
  });
  for (const button of document.querySelectorAll("[data-view]")) button.ariaPressed = String(button.dataset.view === state.view);
  $(".which").textContent = titleOf(state.layer, state.head);
  const profile = state.head === MEAN ? [] : data.profile[state.layer][state.head];
  $(".profile").textContent = profile.map((share, k) => `${data.patterns[k]} ${percent(share)}`).join(" · ");
  $$(".striking button").forEach((button, k) => {
    const { layer, head } = data.striking[k];
    button.ariaPressed = String(layer === state.layer && head === state.head);
  });
  $(".lines").hidden = state.view !== "lines";
  $(".matrix").hidden = state.view !== "matrix";
  if (state.view === "lines") drawLines();
  else drawMatrix();
  say();
}

function fromHash() {
  const query = new URLSearchParams(location.hash.slice(1));
  const number = (name, most) => Math.min(Math.max((Number(query.get(name)) || 1) - 1, 0), most - 1);
  state.layer = number("layer", layers);
  state.head = query.get("head") === "mean" ? MEAN : number("head", heads);
  state.view = query.get("view") === "matrix" ? "matrix" : "lines";
}

for (const button of document.querySelectorAll("[data-view]")) {
  button.addEventListener("click", () => update({ view: button.dataset.view }));
}
$("[name=added]")?.addEventListener("change", (event) => update({ withoutAdded: event.target.checked }));
$("[name=between]")?.addEventListener("change", (event) => update({ between: event.target.value }));
$(".lines").addEventListener("pointerleave", () => state.pinned || update({ side: null, token: null }));
$(".matrix canvas").addEventListener("pointermove", pointAt);
$(".matrix canvas").addEventListener("pointerdown", pointAt);
$(".matrix canvas").addEventListener("pointerleave", () => draw());
addEventListener("hashchange", () => (fromHash(), draw()));
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (readColors(), paintOverview(), draw()));

$(".panes").hidden = false;
readColors();
fromHash();
buildOverview();
buildStriking();
buildLines();
paintOverview();
draw();
