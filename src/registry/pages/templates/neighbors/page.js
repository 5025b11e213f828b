// A dot for each text; the selected one is joined to its neighbors.

const { texts, places, neighbors, cosines } = data;
const SVG = "http://www.w3.org/2000/svg";
const svg = (tag, attributes) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const short = (text, length = 42) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

let selected = null;
let matches = new Set(texts.keys());
const radius = texts.length > 1000 ? 0.01 : texts.length > 200 ? 0.014 : 0.02;

const dots = texts.map((text, index) => {
  const [x, y] = places[index];
  const dot = svg("circle", { cx: x, cy: -y, r: radius });
  dot.append(svg("title", {}));
  dot.firstChild.textContent = text;
  dot.addEventListener("click", () => select(index));
  return dot;
});
const lines = svg("g", {});
const labels = svg("g", {});

const buttons = texts.map((text, index) => {
  const button = make("button", { type: "button", textContent: text });
  button.addEventListener("click", () => select(index));
  return button;
});

function label(index) {
  const [x, y] = places[index];
  const element = svg("text", { x: x + (x > 0.3 ? -1.6 : 1.6) * radius, y: -y + 0.013, "text-anchor": x > 0.3 ? "end" : "start" });
  element.textContent = short(texts[index]);
  return element;
}

function draw() {
  const near = new Set(selected === null ? [] : neighbors[selected]);
  dots.forEach((dot, index) => {
    const kind = index === selected ? "here" : near.has(index) ? "near" : matches.has(index) ? "" : "away";
    dot.setAttribute("class", kind);
    dot.setAttribute("r", kind === "here" ? 1.6 * radius : kind === "near" ? 1.25 * radius : radius);
  });
  lines.replaceChildren(...[...near].map((index) => svg("line", { x1: places[selected][0], y1: -places[selected][1], x2: places[index][0], y2: -places[index][1] })));
  const named = selected === null ? [...matches].slice(0, matches.size <= 25 ? 25 : 0) : [selected, ...[...near].slice(0, 3)];
  const labeled = []; // without those that would cover another
  for (const index of named) {
    const [x, y] = places[index];
    const covers = (other) => Math.abs(places[other][1] - y) < 0.06 && Math.abs(places[other][0] - x) < 0.9;
    if (!labeled.some(covers)) labeled.push(index);
  }
  labels.replaceChildren(...labeled.map(label));
  buttons.forEach((button, index) => {
    button.parentElement.hidden = !matches.has(index);
    button.ariaPressed = String(index === selected);
  });
  $(".readout").textContent = matches.size === texts.length ? `${texts.length.toLocaleString("en")} texts` : `${matches.size.toLocaleString("en")} of ${texts.length.toLocaleString("en")} texts`;
}

function select(index) {
  selected = index;
  const item = (other, number) => {
    const button = make("button", { type: "button" }, texts[other], make("span", { className: "value", textContent: cosines[index][number].toFixed(3) }));
    button.addEventListener("click", () => select(other));
    return make("li", {}, button);
  };
  $(".chosen").replaceChildren(make("p", { className: "one", textContent: texts[index] }), make("ol", {}, ...neighbors[index].map(item)));
  draw();
}

$(".search").addEventListener("input", () => {
  const words = $(".search").value.toLowerCase().split(/\s+/).filter(Boolean);
  matches = new Set([...texts.keys()].filter((index) => words.every((word) => texts[index].toLowerCase().includes(word))));
  if (selected !== null && !matches.has(selected)) {
    selected = null;
    $(".chosen").replaceChildren();
  }
  draw();
});
$(".map").addEventListener("click", (event) => {
  if (event.target === $(".map")) {
    selected = null;
    $(".chosen").replaceChildren();
    draw();
  }
});

$(".map").append(lines, ...dots, labels);
$(".texts").append(...buttons.map((button) => make("li", {}, button)));
roving(buttons, inRow, (index) => onlyTabStop(buttons, index));
$(".panes").hidden = false;
draw();
