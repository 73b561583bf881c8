// Any page: every figure hung, every table enlivened, light and dark.

for (const holder of document.querySelectorAll("script[data-figure]"))
  hang(document.getElementById(holder.dataset.figure), JSON.parse(holder.textContent));
for (const table of document.querySelectorAll("main table:not(.matrix)")) enliven(table, nameOf(table));

const button = document.querySelector("button.theme");
const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
const named = () => { button.textContent = isDark() ? "Light" : "Dark"; };
if (!root.dataset.theme && remembered()) root.dataset.theme = remembered();
button.hidden = false;
button.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a page without storage forgets it */ }
  named();
  redraw();
});
prefersDark.addEventListener("change", () => { named(); redraw(); });
let wasNarrow = narrow();
window.addEventListener("resize", () => { if (narrow() !== wasNarrow) { wasNarrow = narrow(); redraw(); } });
window.addEventListener("beforeprint", () => { for (const plot of drawings.keys()) draw(plot); });
named();
