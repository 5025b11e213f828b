// Shows, for the selected token, the tokens that the model expected in its place.

const { tokens, prompt, places } = data;

const buttons = tokens.map((label, index) => {
  const button = make("button", { type: "button", className: index < prompt ? "" : "new", textContent: label });
  const place = places[index];
  if (place) button.style.setProperty("--surprise", `${Math.min(4.5 * place.bits, 55).toFixed(1)}%`);
  button.addEventListener("pointerenter", () => select(index));
  button.addEventListener("focus", () => select(index));
  button.addEventListener("click", () => select(index));
  return button;
});

function bar([label, share], chosen) {
  const line = make("span", { className: "bar" });
  line.style.setProperty("--share", `${(100 * share).toFixed(2)}%`);
  return make("li", { className: chosen ? "chosen" : "" }, make("span", { className: "label", textContent: label }), line, make("span", { className: "value", textContent: percent(share) }));
}

function select(index) {
  onlyTabStop(buttons, index);
  buttons.forEach((button, number) => (button.ariaPressed = String(number === index)));
  const place = places[index];
  $(".which").textContent = `Token ${index + 1} of ${tokens.length}`;
  if (!place) {
    $(".readout").replaceChildren("The first token: nothing comes before it.");
    $(".bars").replaceChildren();
    return;
  }
  const token = make("b", { textContent: tokens[index] });
  $(".readout").replaceChildren(token, ` had ${percent(place.share)}, rank ${place.rank.toLocaleString("en")}, ${place.bits.toFixed(2)} bits; uncertainty ${place.entropy.toFixed(2)} bits`);
  const rows = place.likeliest.map((likely, number) => bar(likely, number + 1 === place.rank));
  if (place.rank > rows.length) rows.push(bar([tokens[index], place.share], true));
  $(".bars").replaceChildren(...rows);
}

roving(buttons, inRow, select);
$(".tokens").append(...buttons);
$(".panes").hidden = false;
select(Math.min(prompt, tokens.length - 1));
