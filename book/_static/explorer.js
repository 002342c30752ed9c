// The results explorer: draws what randprune_core/explorer.py put into window.RANDPRUNE.
// Means, intervals, labels, colours and markers come from there; no statistics are made here.
"use strict";

(() => {
  const root = document.getElementById("explorer-root");
  const data = window.RANDPRUNE;
  if (!root) return;
  if (!data || !data.sets.length) {
    root.textContent = data
      ? "No run is recorded, so that there is nothing to show."
      : "The data of this page is made by make book and is missing here.";
    return;
  }

  const picked = { set: 0, metric: "accuracy", model: "", sparsity: 0, hidden: new Set() };

  // ------------------------------------------------------------ small helpers

  function element(name, attributes = {}, ...children) {
    return fill(document.createElement(name), attributes, children);
  }

  function shape(name, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
  }

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  const set = () => data.sets[picked.set];
  const metric = () => set().metrics.find((entry) => entry.key === picked.metric);
  const minus = (text) => text.replace("-", "−");
  const number = (value) => minus(value.toFixed(metric().digits));
  const seeds = (n) => (n === 1 ? "one seed" : `${n} seeds`);
  const interval = (cell) => `${number(cell.low)} to ${number(cell.high)}`;
  const reach = (cell) => (cell.low === undefined ? "–" : number((cell.high - cell.low) / 2));

  function cells() {
    return metric().cells
      .map(([model, setting, sparsity, n, mean, low, high]) => (
        { model: set().models[model], setting: set().settings[setting], sparsity, n, mean, low, high }
      ))
      .filter((cell) => !picked.hidden.has(cell.setting))
      .sort((a, b) =>
        set().models.indexOf(a.model) - set().models.indexOf(b.model) ||
        set().settings.indexOf(a.setting) - set().settings.indexOf(b.setting) ||
        a.sparsity - b.sparsity);
  }

  // ------------------------------------------------------------ controls

  const controls = element("form", { class: "explorer-controls" });
  const status = element("p", { role: "status", class: "explorer-status" });
  const charts = element("div", { class: "explorer-charts" });
  controls.addEventListener("submit", (event) => event.preventDefault());
  root.replaceChildren(controls, status, charts);

  function choice(name, label, groups, current, change) {
    const list = element("select", { id: `explorer-${name}` });
    for (const [title, options] of groups) {
      const made = options.map(([value, text]) => element("option", { value }, text));
      list.append(...(title ? [element("optgroup", { label: title }, ...made)] : made));
    }
    list.value = String(current);
    list.addEventListener("change", () => change(list.value));
    return element("div", {}, element("label", { for: list.id }, label), list);
  }

  function drawControls() {
    const { models, sparsities, settings, metrics } = set();
    if (!metric()) picked.metric = metrics[0].key;
    if (!models.includes(picked.model)) picked.model = fullest("model") || models[0];
    if (!sparsities.includes(picked.sparsity)) picked.sparsity = fullest("sparsity") || 0;
    const groups = new Map();
    for (const { group, key, label } of metrics) {
      groups.set(group, [...(groups.get(group) || []), [key, label]]);
    }
    const plain = (values, text = String) => [["", values.map((value) => [value, text(value)])]];
    const sets = [["", data.sets.map((entry, place) => [place, entry.label])]];
    const boxes = settings.map((setting) => {
      const box = element("input", { type: "checkbox", id: `explorer-${setting}` });
      box.checked = !picked.hidden.has(setting);
      box.addEventListener("change", () => {
        picked.hidden[box.checked ? "delete" : "add"](setting);
        draw();
      });
      const label = data.styles[setting].label;
      return element("label", { for: box.id }, box, swatch(setting), label);
    });
    controls.replaceChildren(
      choice("set", "Profile and data", sets, picked.set, (value) => {
        picked.set = Number(value);
        drawControls();
        document.getElementById("explorer-set").focus();
        draw();
      }),
      choice("metric", "Metric", groups, picked.metric, (value) => { picked.metric = value; draw(); }),
      choice("model", "Network", plain(models), picked.model, (value) => {
        picked.model = value;
        draw();
      }),
      choice("sparsity", "Sparsity", plain(sparsities), picked.sparsity, (value) => {
        picked.sparsity = Number(value);
        draw();
      }),
      element("fieldset", {}, element("legend", {}, "Ratios and masks"), ...boxes),
    );
  }

  // The network or sparsity with most recorded cells: what is shown first is not empty.
  function fullest(name) {
    const counts = new Map();
    for (const cell of cells()) {
      if (cell.sparsity) counts.set(cell[name], (counts.get(cell[name]) || 0) + 1);
    }
    const most = Math.max(...counts.values());
    return [...counts.keys()].filter((key) => counts.get(key) === most).pop();
  }

  function swatch(setting) {
    const line = { x1: 2, x2: 26, y1: 8, y2: 8, stroke: data.styles[setting].colour };
    const box = { width: 28, height: 16, viewBox: "0 0 28 16", "aria-hidden": "true" };
    return shape("svg", { ...box, class: "explorer-swatch" },
      shape("line", { ...line, "stroke-width": 2 }), ...marker(setting, 14, 8));
  }

  function marker(setting, x, y) {
    const style = data.styles[setting];
    if (!style.marker) return [];
    return [shape("path", {
      d: style.marker,
      transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(9)`,
      fill: style.filled ? style.colour : "none",
      stroke: style.filled ? "white" : style.colour,
      "stroke-width": style.filled ? 1 : 2,
      "vector-effect": "non-scaling-stroke",
    })];
  }

  // ------------------------------------------------------------ pictures

  const HEIGHT = 300;
  const MARGIN = { left: 58, right: 14, top: 34 };

  function ticks(low, high) {
    const raw = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) {
      found.push([k * step, minus((k * step).toFixed(digits))]);
    }
    return found;
  }

  function range(values) {
    const low = Math.min(...values);
    const high = Math.max(...values);
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    return [low - room, high + room];
  }

  // One picture: axes, then whatever `paint` draws with the two scales.
  function picture(name, title, about, shown, [left, right], across, caption, paint) {
    const width = Math.max(charts.clientWidth > 760 ? charts.clientWidth / 2 - 12 : charts.clientWidth, 260);
    const limits = range(shown.flatMap((cell) => [cell.mean, cell.low ?? cell.mean, cell.high ?? cell.mean]));
    const inner = { x: MARGIN.left, y: MARGIN.top, w: width - MARGIN.left - MARGIN.right };
    const narrow = across.some(([, text]) => text.length * 7.5 > inner.w / across.length);
    const skip = narrow && across.every(([, text]) => text.length < 5);
    const tilted = narrow && !skip;
    const foot = HEIGHT - (tilted ? 52 : 30);
    inner.h = foot - 16 - MARGIN.top;
    const x = (value) => inner.x + inner.w * (value - left) / (right - left);
    const y = (value) => inner.y + inner.h * (limits[1] - value) / (limits[1] - limits[0]);
    const ids = { title: `explorer-${name}-title`, about: `explorer-${name}-about` };
    const svg = shape("svg", {
      width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
      "aria-labelledby": `${ids.title} ${ids.about}`,
    }, shape("title", { id: ids.title }, title), shape("desc", { id: ids.about }, about));
    svg.append(shape("rect", { width, height: HEIGHT, fill: "white" }));
    for (const [value, text] of ticks(...limits)) {
      svg.append(
        shape("line", { x1: inner.x, x2: inner.x + inner.w, y1: y(value), y2: y(value), class: "grid" }),
        shape("text", { x: inner.x - 6, y: y(value) + 4, "text-anchor": "end" }, text));
    }
    across.forEach(([value, text], place) => {
      if (skip && place % Math.ceil((40 * across.length) / inner.w)) return;
      const tilt = tilted ? { transform: `rotate(-30 ${x(value)} ${foot})` } : {};
      svg.append(
        shape("line", { x1: x(value), x2: x(value), y1: inner.y, y2: inner.y + inner.h, class: "grid" }),
        shape("text", { x: x(value) + (tilted ? 10 : 0), y: foot,
          "text-anchor": tilted ? "end" : "middle", ...tilt }, text));
    });
    svg.append(
      shape("rect", { x: inner.x, y: inner.y, width: inner.w, height: inner.h, class: "frame" }),
      shape("text", { x: 4, y: 18, class: "label" }, metric().label));
    if (caption) {
      svg.append(shape("text", { x: inner.x + inner.w / 2, y: HEIGHT - 8, "text-anchor": "middle" }, caption));
    }
    paint(svg, x, y, inner);
    return svg;
  }

  function drawPoint(svg, cell, x, y, bar) {
    const style = data.styles[cell.setting];
    const text = `${style.label}, ${cell.model}, sparsity ${cell.sparsity}: ${number(cell.mean)}, ` +
      (cell.low === undefined ? "one seed" : `${interval(cell)}, ${seeds(cell.n)}`);
    const group = shape("g", {}, shape("title", {}, text));
    if (cell.low !== undefined) {
      const ends = `M${x - 3} ${y(cell.low)}h6M${x - 3} ${y(cell.high)}h6M${x} ${y(cell.low)}V${y(cell.high)}`;
      group.append(shape("path", { d: ends, stroke: style.colour, "stroke-width": 1.4, fill: "none" }));
    }
    if (bar) {
      const line = { x1: x - 6, x2: x + 6, y1: y(cell.mean), y2: y(cell.mean) };
      group.append(shape("line", { ...line, stroke: style.colour, "stroke-width": 3 }));
    }
    group.append(...marker(cell.setting, x, y(cell.mean)));
    svg.append(group);
  }

  // Settings stand beside each other, so that their intervals do not cover each other.
  function aside(setting, shown, step) {
    const names = set().settings.filter((name) => shown.some((cell) => cell.setting === name));
    return step * (names.indexOf(setting) - (names.length - 1) / 2);
  }

  function bySparsity(shown) {
    const levels = set().sparsities;
    const reach = levels.length < 2 ? 0.1 : (levels[levels.length - 1] - levels[0]) * 0.1;
    const limits = [levels[0] - reach, levels[levels.length - 1] + reach];
    const sparse = shown.filter((cell) => cell.sparsity);
    const across = levels.map((level) => [level, String(level)]);
    const title = `${metric().label} of ${picked.model} against sparsity`;
    return picture("curve", title, describe(shown), shown, limits, across, "Sparsity", (svg, x, y, inner) => {
      if (levels.includes(picked.sparsity)) {
        const at = { x1: x(picked.sparsity), x2: x(picked.sparsity), y1: inner.y, y2: inner.y + inner.h };
        svg.append(shape("line", { ...at, class: "picked" }));
      }
      for (const cell of shown.filter((entry) => !entry.sparsity)) {
        const line = { x1: inner.x, x2: inner.x + inner.w, y1: y(cell.mean), y2: y(cell.mean) };
        const colour = data.styles[cell.setting].colour;
        if (cell.low !== undefined) {
          svg.append(shape("rect", { x: inner.x, width: inner.w, y: y(cell.high),
            height: y(cell.low) - y(cell.high), fill: colour, opacity: 0.15 }));
        }
        svg.append(shape("line", { ...line, stroke: colour, "stroke-width": 2 }));
      }
      for (const setting of set().settings) {
        const line = sparse.filter((cell) => cell.setting === setting);
        const place = (cell) => x(cell.sparsity) + aside(setting, sparse, 3);
        const d = line.map((cell, k) => `${k ? "L" : "M"}${place(cell)} ${y(cell.mean)}`).join("");
        const colour = data.styles[setting].colour;
        if (d) svg.append(shape("path", { d, stroke: colour, "stroke-width": 2, fill: "none" }));
        for (const cell of line) drawPoint(svg, cell, place(cell), y, false);
      }
    });
  }

  function byNetwork(shown) {
    const models = set().models;
    const across = models.map((model, place) => [place, model]);
    const title = `${metric().label} of every network at sparsity ${picked.sparsity}`;
    const limits = [-0.5, models.length - 0.5];
    return picture("networks", title, describe(shown), shown, limits, across, "", (svg, x, y, inner) => {
      const step = Math.min(12, (0.7 * inner.w) / models.length / set().settings.length);
      for (const cell of shown) {
        const place = x(models.indexOf(cell.model)) + aside(cell.setting, shown, step);
        drawPoint(svg, cell, place, y, !data.styles[cell.setting].marker);
      }
    });
  }

  function describe(shown) {
    const values = shown.map((cell) => cell.mean);
    if (!values.length) return "Nothing is recorded for this choice.";
    return `${shown.length} values from ${number(Math.min(...values))} to ` +
      `${number(Math.max(...values))}. The table that follows holds each of them.`;
  }

  // ------------------------------------------------------------ tables and text

  function table(caption, first, shown) {
    const head = [first[0], "Ratio", "Mean", "±", "Seeds"];
    const rows = shown.map((cell) => element("tr", {},
      element("th", { scope: "row" }, first[1](cell)),
      ...[data.styles[cell.setting].label, number(cell.mean), reach(cell), String(cell.n)]
        .map((text) => element("td", {}, text))));
    const scroll = { class: "explorer-table", tabindex: 0, role: "region", "aria-label": caption };
    return element("div", scroll, element("table", { class: "table" },
      element("caption", {}, `${caption}; ± is half of the 95 % interval`),
      element("thead", {}, element("tr", {},
        ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows)));
  }

  function panel(heading, svg, made) {
    return element("section", {}, element("p", { class: "explorer-heading" }, heading), svg, made);
  }

  function draw() {
    const all = cells();
    const curve = all.filter((cell) => cell.model === picked.model);
    const level = all.filter((cell) => !cell.sparsity || cell.sparsity === picked.sparsity);
    const { label, better, images, floor, note } = metric();
    const words = [`Profile ${set().label}: ${set().purpose}.`];
    if (better) words.push(`${better === "higher" ? "Higher" : "Lower"} is better.`);
    if (images) words.push(`Measured on ${images} images.`);
    const counts = [...curve, ...level].map((cell) => cell.n);
    if (counts.includes(1)) words.push("One seed is a bare point: it has no interval and decides nothing.");
    if (floor !== null && counts.length && [...curve, ...level].every((cell) => cell.mean <= floor)) {
      words.push(`No network here is above what guessing gives (${floor} %): nothing can be read from this.`);
    }
    if (note) words.push(note);
    status.textContent = words.join(" ");
    const sparsity = ["Sparsity", (cell) => String(cell.sparsity)];
    const network = ["Network", (cell) => cell.model];
    const nothing = () => element("p", {}, "Nothing is recorded for this choice.");
    charts.replaceChildren(
      panel(`${picked.model}, all sparsities`, curve.length ? bySparsity(curve) : nothing(),
        table(`${label}: ${picked.model}`, sparsity, curve)),
      panel(`All networks, sparsity ${picked.sparsity}`, level.length ? byNetwork(level) : nothing(),
        table(`${label}: dense, and at sparsity ${picked.sparsity}`, network, level)));
  }

  drawControls();
  draw();
  let width = charts.clientWidth;
  new ResizeObserver(() => {
    if (charts.clientWidth === width) return;
    width = charts.clientWidth;
    draw();
  }).observe(charts);
})();
