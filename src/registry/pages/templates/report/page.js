// Filters the names of all groups, and opens the groups that have one.

const groups = $$(".group").map((group) => ({ details: group.querySelector("details"), rows: [...group.querySelectorAll("tbody tr")], group, was: group.querySelector("details").open }));

$(".search").addEventListener("input", () => {
  const words = $(".search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { details, rows, group, was } of groups) {
    const found = rows.filter((row) => {
      row.hidden = !words.every((word) => row.cells[0].textContent.toLowerCase().includes(word));
      return !row.hidden;
    });
    group.hidden = found.length === 0;
    details.open = words.length ? found.length > 0 : was;
    shown += found.length;
  }
  $(".count").textContent = words.length ? `${shown.toLocaleString("en")} found` : "";
});
$(".filter").hidden = false;
