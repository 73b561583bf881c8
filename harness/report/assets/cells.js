// From the matrix to a cell: what its document holds is shown below the matrix, and has an address of its own.

const cells = held("cells-document");
const word = (number) => cells.words[number];
const matrix = document.getElementById("matrix");
const view = document.getElementById("cell");
const squares = [...matrix.querySelectorAll("button[data-cell]")];
const square = (index) => squares.find((each) => Number(each.dataset.cell) === index);
let open = null;

// 1, 2 and 5 of each decade that the values span.
const ticks = (values) => {
  const [low, high] = [Math.min(...values) * 0.9, Math.max(...values) * 1.1];
  const found = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++)
    for (const each of [1, 2, 5]) found.push(Number(`${each}e${decade}`));
  const tickvals = found.filter((each) => each >= low && each <= high);
  return { tickvals, ticktext: tickvals.map(String) };
};

const distribution = (block) => ({
  data: block.curves.map(([name, colour, dash, values]) => ({
    type: "scatter", mode: "lines", name: word(name), x: values, y: cells.shares,
    line: { color: word(colour), dash: word(dash), width: 2.5 },
    hovertemplate: "%{x:.4g}: %{y:.1%}<extra>%{fullData.name}</extra>",
  })),
  layout: {
    height: 320, margin: { l: 8, r: 12, t: 40, b: 48 }, dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", xanchor: "left" },
    xaxis: { type: "log", title: { text: word(block.axis) }, automargin: true, fixedrange: true, zeroline: false, ...ticks(block.curves.flatMap((each) => each[3]).filter((each) => each > 0)) },
    yaxis: { title: { text: "share of samples" }, range: [0, 1.02], tickformat: ".0%", automargin: true, fixedrange: true, zeroline: false },
  },
});

const tableOf = (block) => {
  const question = word(block.question);
  const head = made("thead", {}, made("tr", {}, ...block.columns.map((each) => made("th", { scope: "col" }, word(each)))));
  const body = made("tbody", {}, ...block.rows.map((row) =>
    made("tr", {}, ...row.map((each) => made("td", {}, word(each))))));
  const table = made("table", {}, head, body);
  const holder = made("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": question }, table);
  return [holder, table, question];
};

const shownBlock = (block) => {
  const section = made("section", {}, made("h4", {}, word(block.question)), made("p", {}, word(block.reading)));
  if (block.curves?.length) {
    const plot = made("div", { class: "plot", role: "img", "aria-label": `${word(block.question)} ${word(block.reading)}` });
    section.append(plot);
    hang(plot, distribution(block));
  }
  const [holder, table, question] = tableOf(block);
  section.append(holder);
  enliven(table, question);
  return section;
};

const show = (index, focus) => {
  const cell = cells.cells[index];
  open = index;
  const title = document.getElementById("cell-title");
  title.replaceChildren(
    `${word(cell.path)}, ${word(cell.configuration)}, round ${cell.round} `,
    made("span", { class: `verdict ${word(cell.kind)}` }, made("span", { "aria-hidden": "true" }, word(cell.sign)), ` ${word(cell.word)}`),
    made("small", {}, word(cell.name)),
  );
  const blocks = document.getElementById("cell-blocks");
  for (const plot of blocks.querySelectorAll(".plot")) takeDown(plot);
  blocks.replaceChildren(...cell.blocks.map(shownBlock));
  view.hidden = false;
  for (const each of squares) each.toggleAttribute("aria-current", Number(each.dataset.cell) === index);
  for (const step of view.querySelectorAll("[data-step]")) step.disabled = neighbour(index, Number(step.dataset.step)) === null;
  if (focus) { title.focus({ preventScroll: true }); view.scrollIntoView(); }
};

const neighbour = (index, step) => {
  const { path, configuration, round } = cells.cells[index];
  const rounds = cells.cells
    .map((each, at) => ({ ...each, at }))
    .filter((each) => each.path === path && each.configuration === configuration)
    .sort((one, other) => one.round - other.round);
  const at = rounds.findIndex((each) => each.round === round) + step;
  return at >= 0 && at < rounds.length ? rounds[at].at : null;
};

const addressed = (focus) => {
  const name = decodeURIComponent(location.hash.replace(/^#cell=/, ""));
  const index = cells.cells.findIndex((each) => word(each.name) === name);
  if (location.hash.startsWith("#cell=") && index >= 0) show(index, focus);
};
const visit = (index) => {
  const address = `#cell=${encodeURIComponent(word(cells.cells[index].name))}`;
  if (location.hash === address) show(index, true);
  else location.hash = address;
};

// One stop of the tab key for the whole matrix; arrow keys move inside it.
const reach = (button) => {
  for (const each of squares) each.tabIndex = each === button ? 0 : -1;
  button.focus();
};
const moved = (button, key) => {
  const row = button.closest("tr");
  const inRow = (of) => [...of.querySelectorAll("button")];
  const at = inRow(row).indexOf(button);
  if (key === "ArrowLeft") return inRow(row)[at - 1];
  if (key === "ArrowRight") return inRow(row)[at + 1];
  if (key === "Home") return inRow(row)[0];
  if (key === "End") return inRow(row).at(-1);
  const next = key === "ArrowUp" ? row.previousElementSibling : key === "ArrowDown" ? row.nextElementSibling : null;
  return next ? inRow(next)[Math.min(at, inRow(next).length - 1)] : undefined;
};

squares.forEach((each, index) => { each.tabIndex = index ? -1 : 0; });
matrix.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-cell]");
  if (button) { reach(button); visit(Number(button.dataset.cell)); }
});
matrix.addEventListener("keydown", (event) => {
  const button = event.target.closest("button[data-cell]");
  const next = button && moved(button, event.key);
  if (next) { event.preventDefault(); reach(next); }
});
const metric = document.getElementById("matrix-metric");
metric.disabled = false;
metric.addEventListener("change", () => {
  for (const each of squares) {
    const [text, away] = cells.cells[Number(each.dataset.cell)].values[Number(metric.value)];
    each.querySelector(".value").textContent = word(text);
    each.dataset.shade = away;
  }
});
for (const step of view.querySelectorAll("[data-step]"))
  step.addEventListener("click", () => visit(neighbour(open, Number(step.dataset.step))));
view.querySelector("[data-back]").addEventListener("click", () => {
  document.getElementById("cells").scrollIntoView();
  reach(square(open));
});
window.addEventListener("hashchange", () => addressed(true));
addressed(true);
