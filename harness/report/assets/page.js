"use strict";
(() => {
  const root = document.documentElement;
  const narrow = () => window.innerWidth < 640;
  const dark = JSON.parse(document.getElementById("dark-colours").textContent);
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // Series colours are written for light paper; on dark paper each has its own counterpart.
  const recoloured = (value) => {
    if (typeof value === "string") return dark[value] || value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, recoloured(each)]));
    return value;
  };

  const themed = (drawing) => {
    const copy = structuredClone(drawing);
    const { data, layout } = isDark() ? recoloured(copy) : copy;
    const size = narrow() ? 11 : 13;
    layout.font = { family: getComputedStyle(document.body).fontFamily, size, color: style("--ink") };
    layout.hoverlabel = { bgcolor: style("--card"), bordercolor: style("--line"), font: { color: style("--ink") } };
    for (const key of Object.keys(layout).filter((each) => /^[xy]axis/.test(each))) {
      Object.assign(layout[key], { gridcolor: style("--line"), linecolor: style("--line"), zerolinecolor: style("--soft") });
      if (narrow() && Array.isArray(layout[key].ticktext))
        layout[key].ticktext = layout[key].ticktext.map((text) => text.replace(/ \(|, (?!.*, )/, (gap) => "<br>" + gap.trim().replace(",", "")));
    }
    return { data, layout };
  };

  const draw = () => {
    for (const holder of document.querySelectorAll("script[data-figure]")) {
      const { data, layout } = themed(JSON.parse(holder.textContent));
      Plotly.react(document.getElementById(holder.dataset.figure), data, layout, {
        displayModeBar: false, showTips: false,
      });
    }
  };

  const button = document.querySelector("button.theme");
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const named = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  if (!root.dataset.theme && remembered()) root.dataset.theme = remembered();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a page without storage forgets it */ }
    named();
    draw();
  });
  prefersDark.addEventListener("change", () => { named(); draw(); });
  let wasNarrow = narrow();
  window.addEventListener("resize", () => { if (narrow() !== wasNarrow) { wasNarrow = narrow(); draw(); } });
  named();
  draw();

  // A plot's width follows its card's, whatever made that one change.
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) if (target.clientWidth) Plotly.Plots.resize(target);
  });
  for (const each of document.querySelectorAll(".plot")) resized.observe(each);
})();
