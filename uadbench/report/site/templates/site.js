"use strict";

// Long tables hold their rows in memory and show some hundred of them: sorting and filtering stay quick.
const STEP = 300;
const words = new Intl.Collator("en", { numeric: true });

class LiveTable {
  constructor(table) {
    this.bodies = [...table.tBodies].map((body) => {
      const rows = [...body.rows];
      return {
        body,
        top: rows.filter((row) => row.classList.contains("tier")),
        rows: rows.filter((row) => !row.classList.contains("tier")),
      };
    });
    this.wanted = () => true;
    this.limit = STEP;
    this.more = document.createElement("button");
    this.more.type = "button";
    this.more.className = "plain more";
    this.more.addEventListener("click", () => {
      this.limit += STEP;
      this.show();
    });
    (table.closest(".scroll") ?? table).after(this.more);
    this.heads = [...table.tHead.querySelectorAll("th")].filter((head) => head.dataset.kind !== "none");
    for (const head of this.heads) this.makeSortable(head);
    const place = this.rows.findIndex((row) => row.id && `#${row.id}` === decodeURIComponent(location.hash));
    this.limit = Math.max(STEP, place + 1);
    this.show();
    if (place >= STEP) this.rows[place].scrollIntoView();
  }

  get rows() {
    return this.bodies.flatMap((part) => part.rows);
  }

  // Shows the rows that are wanted, at most so many; returns how many are wanted.
  show() {
    let left = this.limit, found = 0;
    for (const part of this.bodies) {
      const rows = part.rows.filter(this.wanted);
      found += rows.length;
      part.body.replaceChildren(...part.top, ...rows.slice(0, left));
      left = Math.max(0, left - rows.length);
    }
    this.more.hidden = found <= this.limit;
    this.more.textContent = `Show ${Math.min(STEP, found - this.limit)} more of ${found} rows`;
    return found;
  }

  // A heading becomes a button; empty values stay last whatever the direction, and tiers stay apart.
  makeSortable(head) {
    const numeric = head.dataset.kind === "number";
    const first = numeric && !/rank|training|ms per image/.test(head.textContent) ? "descending" : "ascending";
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const turned = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? turned : first;
      for (const each of this.heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const column = Number(head.dataset.column ?? head.cellIndex);
      for (const part of this.bodies) part.rows = sorted(part.rows, column, numeric, order === "ascending");
      this.show();
    });
  }
}

function sorted(rows, column, numeric, up) {
  const keyed = rows.map((row) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return { row, key: numeric && text !== "" ? Number(text) : text };
  });
  keyed.sort((a, b) => {
    if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "");
    const order = numeric ? a.key - b.key : words.compare(a.key, b.key);
    return up ? order : -order;
  });
  return keyed.map((item) => item.row);
}

const tables = new Map([...document.querySelectorAll("table.sortable")].map((table) => [table, new LiveTable(table)]));

// Filtering by the text of a row; each text is read once.
const filter = document.getElementById("filter");
if (filter) {
  const ranked = document.getElementById("ranked-only");
  const filtered = [...tables].filter(([table]) => table.classList.contains("filtered")).map(([, live]) => live);
  const texts = new Map();
  const textOf = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };
  const apply = () => {
    const parts = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = (row) =>
      !(ranked?.checked && row.classList.contains("unranked")) && parts.every((part) => textOf(row).includes(part));
    let found = 0, all = 0;
    for (const live of filtered) {
      live.wanted = wanted;
      live.limit = STEP;
      found += live.show();
      all += live.rows.length;
    }
    document.getElementById("shown").textContent = found === all ? "" : `${found} of ${all} rows`;
  };
  filter.addEventListener("input", apply);
  ranked?.addEventListener("change", apply);
  filter.form.addEventListener("submit", (event) => event.preventDefault());
}

// The first page shows one matrix at a time; without this script all of them stand below each other.
const picks = document.getElementById("picks");
if (picks) {
  const [preset, source, tier] = ["preset", "source", "tier"].map((name) => document.getElementById(`pick-${name}`));
  const boards = [...document.querySelectorAll(".board")];
  const pick = () => {
    const fits = (board) => board.dataset.preset === preset.value && board.dataset.source === source.value;
    for (const board of boards) board.hidden = !fits(board);
    for (const body of document.querySelectorAll(".board tbody"))
      body.hidden = tier.value !== "" && body.dataset.tier !== tier.value;
    const there = boards.filter((board) => board.dataset.preset === preset.value).map((board) => board.dataset.source);
    document.getElementById("picked").textContent = boards.some(fits)
      ? ""
      : `No rows of preset ${preset.value} on these data; there are: ${[...new Set(there)].join("; ")}.`;
  };
  picks.hidden = false;
  picks.addEventListener("change", pick);
  picks.addEventListener("submit", (event) => event.preventDefault());
  pick();
}
