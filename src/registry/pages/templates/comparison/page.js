// The change of each part in each layer as a table of shades, and a table of tensors to search and sort.

const { changes } = data;

const heat = $(".heat");
if (heat) {
  const inLayers = changes.filter((change) => change.layer !== null);
  const layers = [...new Set(inLayers.map((change) => change.layer))].sort((a, b) => a - b);
  const parts = [...new Set(inLayers.map((change) => change.part))];
  const measured = (change) => Math.min(change?.relative ?? 0, 1); // a tensor near zero changes by many times itself
  const most = Math.max(...inLayers.map(measured), 1e-12);
  const prefix = parts.length > 1 ? parts[0].slice(0, parts[0].indexOf("{i}") + 4) : "";
  const of = new Map(inLayers.map((change) => [`${change.part} ${change.layer}`, change]));
  const header = (scope, text) => make("th", { scope, textContent: text });
  const cell = (part, layer) => {
    const change = of.get(`${part} ${layer}`);
    const element = make("td", { textContent: !change ? "" : change.state === "equal" ? "–" : change.relative === null ? change.state : percent(change.relative), title: change?.name ?? "" });
    element.style.setProperty("--heat", `${(60 * Math.sqrt(measured(change) / most)).toFixed(0)}%`);
    return element;
  };
  heat.append(
    make("thead", {}, make("tr", {}, make("th", { scope: "col", textContent: "Part" }), ...layers.map((layer) => header("col", layer)))),
    make("tbody", {}, ...parts.map((part) => make("tr", {}, header("row", part.startsWith(prefix) ? part.slice(prefix.length) : part), ...layers.map((layer) => cell(part, layer))))),
  );
}

const table = $(".tensors");
const rows = [...table.tBodies[0].rows];
let sort = { key: null, descending: true };

function show() {
  const words = $(".search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const only = $("[name=changed]").checked;
  let shown = 0;
  rows.forEach((row, index) => {
    const { name, state } = changes[index];
    row.hidden = !words.every((word) => name.toLowerCase().includes(word)) || (only && state === "equal");
    shown += !row.hidden;
  });
  $(".count").textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  const order = rows.map((_, index) => index);
  const value = (index) => changes[index][sort.key];
  if (sort.key) {
    order.sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      if (one === null || other === null) return (one === null) - (other === null); // unknown ones come last
      const compared = typeof one === "number" ? one - other : String(one).localeCompare(String(other));
      return sort.descending ? -compared : compared;
    });
  }
  table.tBodies[0].append(...order.map((index) => rows[index]));
  for (const header of table.tHead.rows[0].cells) {
    if (header.dataset.key === sort.key) header.ariaSort = sort.descending ? "descending" : "ascending";
    else header.removeAttribute("aria-sort");
  }
}

for (const header of table.tHead.rows[0].cells) {
  const button = make("button", { type: "button", textContent: header.textContent });
  header.replaceChildren(button);
  button.addEventListener("click", () => {
    const { key } = header.dataset;
    sort = sort.key !== key ? { key, descending: true } : sort.descending ? { key, descending: false } : { key: null, descending: true };
    show();
  });
}
for (const field of [$(".search"), $("[name=changed]")]) field.addEventListener("input", show);
$(".search").hidden = false;
$(".check").hidden = false;
show();
