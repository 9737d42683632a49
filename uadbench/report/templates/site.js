"use strict";

// Sorting: each heading becomes a button; empty values stay last whatever the direction, and tiers stay apart.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.querySelectorAll("th")].filter((head) => head.dataset.kind !== "none");
  const words = new Intl.Collator("en", { numeric: true });
  for (const head of heads) {
    const column = Number(head.dataset.column ?? head.cellIndex);
    const numeric = head.dataset.kind === "number";
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = numeric && !/rank|training|ms an image/.test(head.textContent) ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      for (const body of table.tBodies) sortRows(body, column, numeric, order === "ascending", words);
    });
  }
}

function sortRows(body, column, numeric, up, words) {
  const top = [...body.rows].filter((row) => row.classList.contains("tier"));
  const rows = [...body.rows].filter((row) => !row.classList.contains("tier")).map((row) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return { row, key: numeric && text !== "" ? Number(text) : text };
  });
  rows.sort((a, b) => {
    if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "");
    const order = numeric ? a.key - b.key : words.compare(a.key, b.key);
    return up ? order : -order;
  });
  body.append(...top, ...rows.map((item) => item.row));
}

// Filtering by the text of a row; the text is read once, and all of it before anything changes.
const filter = document.getElementById("filter");
if (filter) {
  const ranked = document.getElementById("ranked-only");
  const rows = [...document.querySelectorAll("table.filtered tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const apply = () => {
    const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      const out = Boolean(ranked?.checked) && row.classList.contains("unranked");
      row.hidden = out || !wanted.every((word) => texts[i].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    const all = shown === rows.length && !wanted.length;
    document.getElementById("shown").textContent = all ? "" : `${shown} of ${rows.length} rows`;
  };
  filter.addEventListener("input", apply);
  ranked?.addEventListener("change", apply);
  filter.form.addEventListener("submit", (event) => event.preventDefault());
}
