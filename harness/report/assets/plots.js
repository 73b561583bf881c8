// Figures: drawn when they come near the screen, in the colours of the paper they stand on.

const root = document.documentElement;
const narrow = () => window.innerWidth < 640;
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
const held = (id) => JSON.parse(document.getElementById(id).textContent);
const darkColours = held("dark-colours");

// Series colours are written for light paper; on dark paper each has its own counterpart.
const recoloured = (value) => {
  if (typeof value === "string") return darkColours[value] || value;
  if (Array.isArray(value)) return value.map(recoloured);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, recoloured(each)]));
  return value;
};

const themed = (drawing) => {
  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
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

// plotly.js is packed, and takes longer to start than the rest of the page: it does so when the first figure comes near.
const unpacked = (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (each) => each.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};

let starting = null;
const withPlotly = (use) => {
  if (window.Plotly) { use(window.Plotly); return; }
  starting ||= unpacked("plotly").then((code) => {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
  });
  starting.then(() => use(window.Plotly));
};

const drawings = new Map();
const drawn = new Set();

const draw = (plot) => withPlotly((library) => {
  if (!drawings.has(plot)) return;  // taken down meanwhile
  const { data, layout } = themed(drawings.get(plot));
  drawn.add(plot);
  library.react(plot, data, layout, { displayModeBar: false, showTips: false });
});

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries)
    if (isIntersecting) { near.unobserve(target); draw(target); }
}, { rootMargin: "600px" });

// A plot's width follows its card's, whatever made that one change.
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) if (target.clientWidth && drawn.has(target)) window.Plotly.Plots.resize(target);
});

const hang = (plot, drawing) => {
  drawings.set(plot, drawing);
  plot.style.minHeight = `${drawing.layout.height || 320}px`;
  near.observe(plot);
  resized.observe(plot);
};

const takeDown = (plot) => {
  for (const observer of [near, resized]) observer.unobserve(plot);
  if (drawn.delete(plot)) window.Plotly.purge(plot);
  drawings.delete(plot);
};

const redraw = () => drawn.forEach(draw);
