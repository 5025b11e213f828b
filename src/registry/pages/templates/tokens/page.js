// Names the token that is pointed at, and marks the same characters in the other rows.

const groups = $$(".tokens").map((group) => [...group.querySelectorAll("button")]);
const all = groups.flat();
const span = (button) => [Number(button.dataset.start), Number(button.dataset.end)];

function point(button) {
  const [start, end] = span(button);
  for (const other of all) {
    const [from, to] = span(other);
    other.classList.toggle("same", other === button || Math.max(start, from) < Math.min(end, to));
  }
  const { piece, id } = button.dataset;
  const place = end > start ? `characters ${start} to ${end}` : "of no characters";
  $(".readout").replaceChildren(make("b", { textContent: piece }), ` · id ${id} · ${place}`);
}

for (const group of groups) {
  roving(group, inRow, (index) => (onlyTabStop(group, index), point(group[index])));
  group.forEach((button, index) => {
    button.removeAttribute("title"); // the readout says the same at once
    button.addEventListener("pointerenter", () => point(button));
    button.addEventListener("focus", () => point(button));
    button.addEventListener("click", () => onlyTabStop(group, index));
  });
}
