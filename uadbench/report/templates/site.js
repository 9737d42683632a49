"use strict";
// Sorting: each heading becomes a button; empty values stay last whatever the direction.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.dataset.kind === "none") return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const numeric = head.dataset.kind === "number";
      const rows = [...table.tBodies[0].rows].map((row) => {
        const cell = row.cells[column];
        const text = cell.dataset.value ?? cell.textContent.trim();
        return { row, key: numeric && text !== "" ? Number(text) : text };
      });
      rows.sort((a, b) => {
        if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "");
        const order = numeric ? a.key - b.key : a.key.localeCompare(b.key);
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows.map((item) => item.row));
    });
  });
}
// Filtering by the text of a row.
const filter = document.getElementById("filter");
if (filter) {
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    const rows = [...document.querySelectorAll("table.sortable tbody tr")];
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      if (!row.hidden) shown += 1;
    }
    document.getElementById("shown").textContent = wanted ? `${shown} of ${rows.length} rows` : "";
  });
}
