// Every table can be sorted and taken away as CSV; a long one can be searched.

const SEARCHED = 10;
const UNITS = { ns: 1e-9, "µs": 1e-6, us: 1e-6, ms: 1e-3, s: 1, "kb/s": 1e3, "Mb/s": 1e6, "Gb/s": 1e9 };
const made = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// "1.09 ms (1.02 to 1.2)" is worth 0.00109, "n = 12" and words are worth what they say.
const worth = (text) => {
  const found = /^[^\d\p{L}-]*(-?[\d,]*\.?\d+(?:e-?\d+)?)\s*([\p{L}µ/]+)?/u.exec(text.trim());
  if (!found) return null;
  const number = Number(found[1].replaceAll(",", ""));
  return Number.isFinite(number) ? number * (UNITS[found[2]] ?? 1) : null;
};

const compared = (one, other) => {
  const [a, b] = [worth(one), worth(other)];
  if (a !== null && b !== null) return a - b;
  if (a !== null || b !== null) return a === null ? 1 : -1;
  return one.localeCompare(other);
};

const columnOf = (row, index) => row.cells[index]?.innerText ?? "";

const sortBy = (table, index, button) => {
  const heading = button.parentElement;
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const each of heading.parentElement.cells) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((one, other) => compared(columnOf(one, index), columnOf(other, index)));
  body.append(...(down ? rows.reverse() : rows));
};

const csv = (table) =>
  [...table.rows]
    .filter((row) => !row.hidden)
    .map((row) => [...row.cells].map((cell) => `"${cell.textContent.trim().replaceAll('"', '""')}"`).join(","))
    .join("\n");

const download = (table, name) => {
  const address = URL.createObjectURL(new Blob([csv(table) + "\n"], { type: "text/csv" }));
  const link = made("a", { href: address, download: `${name.replace(/[^\w-]+/g, "-").toLowerCase()}.csv` });
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(address);
};

const searchOf = (table, name) => {
  const rows = [...table.tBodies[0].rows];
  const field = made("input", { type: "search", "aria-label": `Search: ${name}`, placeholder: "Search" });
  const count = made("span", { role: "status" });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
  return [field, count];
};

const enliven = (table, name) => {
  const [heading] = table.tHead?.rows ?? [];
  const rows = table.tBodies[0]?.rows.length ?? 0;
  if (!heading || rows < 2) return;
  [...heading.cells].forEach((cell, index) => {
    const button = made("button", { type: "button", class: "sort" }, ...cell.childNodes);
    button.addEventListener("click", () => sortBy(table, index, button));
    cell.replaceChildren(button);
  });
  const take = made("button", { type: "button", class: "take", "aria-label": `Save as CSV: ${name}` }, "CSV");
  take.addEventListener("click", () => download(table, name));
  const tools = made("div", { class: "tools" }, ...(rows >= SEARCHED ? searchOf(table, name) : []), take);
  (table.closest(".scroll") ?? table).before(tools);
};

const nameOf = (table) => {
  const holder = table.closest("figure, article, section");
  return holder?.querySelector("h3, h2")?.innerText ?? document.title;
};
