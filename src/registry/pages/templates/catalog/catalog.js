// Search, filters and sorting of the table of models, and copy buttons.  The pages can be read without it.
"use strict";

const table = document.querySelector(".models");
if (table) {
  const form = document.querySelector(".controls");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const count = document.querySelector(".count");
  const none = document.querySelector(".none");
  const numeric = new Set(["parameters", "size"]);
  let sort = { key: null, descending: false };

  // The selection is kept in the URL, so that it can be shared and survives navigation.
  const selected = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim()));

  const tests = {
    q: (row, value) => {
      const text = `${row.dataset.name} ${row.dataset.aliases} ${row.textContent}`.toLowerCase();
      return value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
    },
    language: (row, value) => row.dataset.language.split(" ").includes(value),
    size: (row, value) => row.dataset.size !== "" && Number(row.dataset.size) <= Number(value),
  };
  const matches = (row, wanted) =>
    Object.entries(wanted).every(([key, value]) => (tests[key] ? tests[key](row, value) : row.dataset[key] === value));

  const compare = (one, other) => {
    const [a, b] = [one.dataset[sort.key], other.dataset[sort.key]];
    if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1); // unknown values come last in both directions
    const order = numeric.has(sort.key) ? a - b : a.localeCompare(b);
    return sort.descending ? -order : order;
  };

  const show = () => {
    const wanted = selected();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !matches(row, wanted);
      shown += !row.hidden;
    }
    body.append(...(sort.key ? [...rows].sort(compare) : rows));
    for (const header of table.tHead.rows[0].cells) {
      if (header.dataset.key === sort.key) header.ariaSort = sort.descending ? "descending" : "ascending";
      else header.removeAttribute("aria-sort");
    }
    count.textContent = shown === rows.length ? `${shown} models` : `${shown} of ${rows.length} models`;
    count.hidden = shown === 0;
    none.hidden = shown > 0;
    table.hidden = shown === 0;
  };

  const write = () => {
    const query = new URLSearchParams(selected());
    if (sort.key) query.set("sort", (sort.descending ? "-" : "") + sort.key);
    history.replaceState(null, "", `${location.pathname}${location.search}${query.size ? `#${query}` : ""}`);
    show();
  };

  const read = () => {
    const query = new URLSearchParams(location.hash.slice(1));
    for (const field of form.elements) {
      if (field.type === "checkbox") field.checked = query.get(field.name) === field.value;
      else field.value = query.get(field.name) ?? "";
    }
    const key = query.get("sort") ?? "";
    sort = { key: key.replace(/^-/, "") || null, descending: key.startsWith("-") };
    show();
  };

  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const key = header.dataset.key;
      if (sort.key !== key) sort = { key, descending: false };
      else if (!sort.descending) sort = { key, descending: true };
      else sort = { key: null, descending: false }; // the original order
      write();
    });
  }
  form.addEventListener("input", write);
  form.addEventListener("change", write); // values that the browser restores
  form.addEventListener("submit", (event) => event.preventDefault());
  document.querySelector("[data-reset]").addEventListener("click", () => {
    form.reset();
    write();
    form.elements.q.focus();
  });
  addEventListener("hashchange", read);
  form.hidden = false;
  read();
}

for (const snippet of document.querySelectorAll(".snippet")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const text = snippet.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(snippet.querySelector("code")); // not allowed: at least it is selected
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  snippet.append(button);
}
