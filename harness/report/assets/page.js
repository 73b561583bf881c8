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

  // Ready to run when the first figure comes near: until then the page need not wait for it.
  const plotly = () => {
    if (!window.Plotly) {
      const script = document.createElement("script");
      script.textContent = document.getElementById("plotly").textContent;
      document.head.append(script);
    }
    return window.Plotly;
  };

  const draw = (holder) => {
    const { data, layout } = themed(JSON.parse(holder.textContent));
    plotly().react(document.getElementById(holder.dataset.figure), data, layout, {
      displayModeBar: false, showTips: false,
    });
  };

  // Figures are drawn as they come near the window: all at once would take longer than anybody waits.
  const waiting = new Map();
  const drawn = new Set();
  const drawNow = (plot) => {
    if (!waiting.has(plot)) return;
    drawn.add(waiting.get(plot));
    draw(waiting.get(plot));
    waiting.delete(plot);
    near.unobserve(plot);
  };
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) drawNow(target);
  }, { rootMargin: "300px" });
  for (const holder of document.querySelectorAll("script[data-figure]")) {
    const plot = document.getElementById(holder.dataset.figure);
    waiting.set(plot, holder);
    near.observe(plot);
  }
  const redraw = () => { for (const holder of drawn) draw(holder); };
  window.addEventListener("beforeprint", () => { for (const plot of [...waiting.keys()]) drawNow(plot); });

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
  named();

  // A plot's width follows its card's, whatever made that one change.
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) if (target.clientWidth && !waiting.has(target)) Plotly.Plots.resize(target);
  });
  for (const each of document.querySelectorAll(".plot")) resized.observe(each);
})();
