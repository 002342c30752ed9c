// The results explorer: draws what randprune_core/bookmaking/explorer.py put into window.RANDPRUNE.
// Means, intervals, differences, labels, colours and markers come from there; no statistics are made here.
// What is picked stands in the address, so that a link leads to the same view.
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

  const { element, shape, round, number, labelled, select, redraw, follow, plot, rule, line, marker, ink } = window.charts;
  const DASHES = { line: "4 3", edge: "2 1.5" }; // of what is published
  const SHOWN = [["value", "values"], ["gap", "dense minus sparse"]];
  const SETTINGS = [...new Set(data.sets.flatMap(({ settings }) => settings))];
  const FIRST = ["dense", "uniform", "uniform_plus", "erk", "snip"]; // shown until others are picked
  const picked = {}; // data, metric, show, network, sparsity, paper, hidden

  const set = () => data.sets.find(({ key }) => key === picked.data);
  const metric = () => data.metrics.find(({ key }) => key === picked.metric);
  const measured = () => (Object.hasOwn(set().measured, picked.metric) ? set().measured[picked.metric] : null);
  const isGap = () => picked.show === "gap";
  const style = (setting) => data.styles[setting];
  const value = (amount) => number(amount, metric().digits);
  const label = () => (isGap() ? metric().label.replace("%)", "points)") : metric().label);
  const named = (settings) => settings.map((setting) => style(setting).label).join(", ");

  function published(show) {
    const paper = set().paper && Object.hasOwn(data.paper, picked.metric) ? data.paper[picked.metric][show] : [];
    return paper.map(([model, setting, sparsity, mean, error]) => (
      { paper: true, model, setting, sparsity, mean, error, seeds: [] }));
  }

  // The accuracies of a smaller profile are far below the paper's, so that only their gaps stand beside it unasked.
  const showsPaper = () => (picked.paper ? picked.paper === "yes" : isGap() || picked.data.startsWith("paper-"));

  // What may be shown, in the order of the tables: what the book measured, and the paper's points.
  function cells(show = picked.show) {
    const { models, settings } = set();
    const found = (measured() || { value: [], gap: [] })[show];
    const ours = found.map(([model, setting, sparsity, n, mean, [low, high], each]) => (
      { model: models[model], setting: settings[setting], sparsity, n, mean, low, high, seeds: each }));
    return [...ours, ...(showsPaper() ? published(show) : [])]
      .filter(({ model, setting }) =>
        models.includes(model) && settings.includes(setting) && !picked.hidden.has(setting))
      .sort((a, b) =>
        models.indexOf(a.model) - models.indexOf(b.model) ||
        settings.indexOf(a.setting) - settings.indexOf(b.setting) ||
        a.sparsity - b.sparsity);
  }

  // ------------------------------------------------------------ the address

  // Whatever is not known stays out, and a default takes its place.
  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const known = (name, values) => values.find((entry) => String(entry) === asked.get(name));
    picked.data = known("data", data.sets.map(({ key }) => key)) ?? data.sets[0].key;
    picked.metric = known("metric", data.metrics.map(({ key }) => key)) ?? data.metrics[0].key;
    picked.show = known("show", SHOWN.map(([name]) => name)) ?? "value";
    picked.paper = known("paper", ["yes", "no"]) ?? "";
    const others = SETTINGS.filter((setting) => !FIRST.includes(setting));
    const hidden = location.hash.includes("=") ? asked.getAll("hide") : others;
    picked.hidden = new Set(hidden.filter((setting) => SETTINGS.includes(setting)));
    picked.network = known("network", set().models) ?? fullest("model") ?? set().models[0];
    picked.sparsity = known("sparsity", set().sparsities) ?? fullest("sparsity") ?? 0;
  }

  function pick(changes) {
    Object.assign(picked, changes);
    const { hidden, paper, ...one } = picked;
    const address = new URLSearchParams(paper ? { ...one, paper } : one);
    for (const setting of hidden) address.append("hide", setting);
    history.pushState(null, "", `#${address}`);
    read();
    if (changes.data) drawControls();
    draw();
  }

  // The network or sparsity with most recorded cells: what is shown first is not empty.
  function fullest(name) {
    const counts = new Map();
    for (const cell of cells()) {
      if (cell.sparsity && !cell.paper) counts.set(cell[name], (counts.get(cell[name]) || 0) + 1);
    }
    const most = Math.max(...counts.values());
    return [...counts.keys()].filter((key) => counts.get(key) === most).pop();
  }

  window.addEventListener("popstate", () => {
    if (location.hash && !location.hash.includes("=")) return; // a heading of this page
    read();
    drawControls();
    draw();
  });

  // ------------------------------------------------------------ controls

  const controls = element("form", { class: "explorer-controls" });
  const status = element("p", { role: "status", class: "explorer-status" });
  const charts = element("div", { class: "explorer-charts" });
  controls.addEventListener("submit", (event) => event.preventDefault());
  root.replaceChildren(controls, status, charts);

  function choice(name, title, entries) {
    const list = select(`explorer-${name}`, entries, picked[name]);
    list.addEventListener("change", () => {
      pick({ [name]: name === "sparsity" ? Number(list.value) : list.value });
      if (name === "data") document.getElementById(list.id).focus();
    });
    return labelled(title, list);
  }

  function box(name, checked, change, ...words) {
    const input = element("input", { type: "checkbox", id: `explorer-${name}` });
    input.checked = checked;
    input.addEventListener("change", () => change(input.checked));
    return element("label", { for: input.id }, input, ...words);
  }

  // A label that fits into its menu: a profile says how many images and epochs, and so does the line below the
  // controls. The images stay where two labels would be the same without them.
  const shorter = (words) => words.replace(/ at (.+)\u00a0pixels/, ", $1").replace(", copy ", ", ")
    .replace(/, \d+ epochs$/, "");
  const shortest = (words) => shorter(words).replace(/, [\d,]+ images$/, "");
  const short = (words) => data.sets.filter(({ label }) => shortest(label) === shortest(words)).length > 1
    ? shorter(words) : shortest(words);

  function drawControls() {
    const groups = new Map();
    for (const { group, key, label: words } of data.metrics) {
      groups.set(group, [...(groups.get(group) || []), [key, words]]);
    }
    const plain = (values) => values.map((entry) => [entry, String(entry)]);
    const boxes = set().settings.map((setting) => box(setting, !picked.hidden.has(setting), (checked) => {
      picked.hidden[checked ? "delete" : "add"](setting);
      pick({});
    }, swatch(setting), style(setting).label));
    if (set().paper) {
      boxes.push(box("paper", showsPaper(), (checked) => pick({ paper: checked ? "yes" : "no" }),
        swatch("erk", true), "the paper's Figure 1"));
    }
    const download = element("button", { type: "button" }, "Download as CSV");
    download.addEventListener("click", save);
    controls.replaceChildren(
      choice("data", "Profile and data", data.sets.map((entry) => [entry.key, short(entry.label)])),
      choice("metric", "Metric", [...groups]),
      choice("show", "Show", SHOWN),
      choice("network", "Network", plain(set().models)),
      choice("sparsity", "Sparsity", plain(set().sparsities)),
      download,
      element("fieldset", {}, element("legend", {}, "Ratios and masks"), ...boxes));
  }

  function swatch(setting, paper = false) {
    const look = paper ? { ...style(setting), colour: "#777777" } : style(setting);
    const size = { width: 28, height: 16, viewBox: "0 0 28 16", "aria-hidden": "true" };
    const dashes = paper ? { "stroke-dasharray": DASHES.line } : {};
    return shape("svg", { ...size, class: "explorer-swatch" },
      line([[2, 8], [26, 8]], look.colour, 2, dashes), ...marker(look, 14, 8, paper, paper && DASHES.edge));
  }

  // ------------------------------------------------------------ pictures

  // A cell in one sentence.
  function words({ setting, model, sparsity, mean, low, high, n, error, paper, seeds: each }) {
    const start = `${style(setting).label}, ${model}, sparsity ${sparsity}${isGap() ? ", dense minus sparse" : ""}: `;
    if (paper) return `The paper, ${start}${value(mean)}, read off its Figure 1 to ±${number(error, 2)}`;
    if (n === 1) return `${start}${value(mean)}, one seed`;
    const values = each.map(([seed, amount]) => `seed ${seed}: ${value(amount)}`).join(", ");
    return `${start}${value(mean)}, 95\u00a0% interval ${value(low)} to ${value(high)}, ${n} seeds (${values})`;
  }

  // The mean with its interval and, left of it, its seeds, hollow without an interval; the point that says it.
  function drawPoint(svg, cell, x, y) {
    const { colour, marker: path } = style(cell.setting);
    const hollow = cell.low === undefined;
    const node = shape("g", { class: "point" });
    if (cell.n > 1) {
      for (const [, amount] of cell.seeds) {
        node.append(shape("circle", { cx: x - 6, cy: y(amount), r: 2.2, fill: ink(colour), class: "seed" }));
      }
      const ends = `M${x - 3} ${y(cell.low)}h6M${x - 3} ${y(cell.high)}h6M${x} ${y(cell.low)}V${y(cell.high)}`;
      node.append(shape("path", { d: ends, stroke: ink(colour), "stroke-width": 1.4, fill: "none" }));
    }
    if (!path) {
      node.append(shape("rect", { x: x - 6, y: y(cell.mean) - 1.5, width: 12, height: 3, class: hollow ? "hollow" : "",
        fill: ink(hollow ? "white" : colour), stroke: ink(colour), "stroke-dasharray": cell.paper ? DASHES.edge : "none" }));
    }
    node.append(...marker(style(cell.setting), x, y(cell.mean), hollow, cell.paper && DASHES.edge));
    svg.append(node);
    return { node, x, y: y(cell.mean), text: words(cell) };
  }

  // A dense network is a line across all sparsities.
  function drawDense(svg, cell, y, inner) {
    const { colour } = style(cell.setting);
    const node = shape("g", { class: "point" });
    if (cell.n > 1) {
      node.append(shape("rect", { x: inner.x, width: inner.w, y: y(cell.high),
        height: y(cell.low) - y(cell.high), fill: ink(colour), opacity: 0.15 }));
      for (const [, amount] of cell.seeds) {
        node.append(shape("circle", { cx: inner.x + 5, cy: y(amount), r: 2.2, fill: ink(colour), class: "seed" }));
      }
    }
    const look = cell.paper ? { "stroke-dasharray": DASHES.line } : {};
    node.append(line([[inner.x, y(cell.mean)], [inner.x + inner.w, y(cell.mean)]], colour, cell.paper ? 1 : 2, look));
    svg.append(node);
    return { node, y: y(cell.mean), text: words(cell) };
  }

  // What has to fit into the picture of some cells.
  function heights(shown) {
    const all = shown.flatMap(({ mean, low, high, seeds: each }) =>
      [mean, low ?? mean, high ?? mean, ...each.map(([, amount]) => amount)]);
    return isGap() ? [0, ...all] : all;
  }

  function drawZero(svg, y, inner) {
    if (isGap()) svg.append(rule(inner.x, y(0), inner.x + inner.w, y(0), { class: "zero" }));
  }

  // Settings stand beside each other, so that their intervals do not cover each other.
  function aside(setting, shown, step) {
    const names = set().settings.filter((name) => shown.some((cell) => cell.setting === name));
    return step * (names.indexOf(setting) - (names.length - 1) / 2);
  }

  function bySparsity(shown, title) {
    const levels = [...new Set(shown.map(({ sparsity }) => sparsity).filter(Boolean))].sort((a, b) => a - b);
    const [first = 0, end = 1] = [levels[0], levels[levels.length - 1]];
    const reach = (end - first) * 0.1 || 0.1;
    const axes = { name: "explorer-curve", title, about: describe(shown), label: label(), caption: "Sparsity",
      values: heights(shown), span: [first - reach, end + reach], across: levels.map((level) => [level, String(level)]) };
    return plot(charts, axes, (svg, x, y, inner) => {
      if (levels.includes(picked.sparsity)) {
        svg.append(rule(x(picked.sparsity), inner.y, x(picked.sparsity), inner.y + inner.h, { class: "picked" }));
      }
      drawZero(svg, y, inner);
      const points = shown.filter((cell) => !cell.sparsity).map((cell) => drawDense(svg, cell, y, inner));
      const sparse = shown.filter((cell) => cell.sparsity);
      const at = (cell) => x(cell.sparsity) + (cell.paper ? 0 : aside(cell.setting, sparse, 3));
      for (const paper of [true, undefined]) {
        for (const setting of set().settings) {
          const curve = sparse.filter((cell) => cell.setting === setting && cell.paper === paper);
          const look = paper ? { "stroke-dasharray": DASHES.line } : {};
          svg.append(line(curve.map((cell) => [at(cell), y(cell.mean)]), style(setting).colour, paper ? 1 : 2, look));
          points.push(...curve.map((cell) => drawPoint(svg, cell, at(cell), y)));
        }
      }
      return points;
    });
  }

  function byNetwork(shown, title) {
    const { models, settings } = set();
    const axes = { name: "explorer-networks", title, about: describe(shown), label: label(), caption: "",
      values: heights(shown), span: [-0.5, models.length - 0.5], across: models.map((model, place) => [place, model]) };
    return plot(charts, axes, (svg, x, y, inner) => {
      drawZero(svg, y, inner);
      const step = Math.min(14, (0.7 * inner.w) / models.length / settings.length);
      const at = (cell) => x(models.indexOf(cell.model)) + aside(cell.setting, shown, step) + (cell.paper ? step / 2 : 0);
      return shown.map((cell) => drawPoint(svg, cell, at(cell), y));
    });
  }

  function describe(shown) {
    const values = shown.map(({ mean }) => mean);
    return `${shown.length} values from ${value(Math.min(...values))} to ${value(Math.max(...values))}. ` +
      "The table that follows holds each of them.";
  }

  // ------------------------------------------------------------ tables and text

  function table(caption, first, shown) {
    const reach = ({ low, high, paper }) => (low === undefined ? (paper ? "–" : "○") : value((high - low) / 2));
    const single = shown.some(({ n }) => n === 1) ? ", ○ one seed" : "";
    return window.charts.table(`${caption}; ± is half of the 95\u00a0% interval${single}`,
      [first, "Ratio", isGap() ? "Gap" : "Mean", "±", "Seeds"],
      shown.map((cell) => [
        first === "Network" ? cell.model : String(cell.sparsity),
        `${style(cell.setting).label}${cell.paper ? " (paper)" : ""}`,
        value(cell.mean), reach(cell), cell.paper ? "–" : String(cell.n)]));
  }

  // What is picked and not recorded, in one sentence; "" where everything is.
  function missing(shown, where, models) {
    const ours = shown.filter((cell) => !cell.paper);
    const wanted = set().settings.filter((name) => !picked.hidden.has(name) && !(isGap() && name === "dense"));
    if (!wanted.length) return "Every ratio and mask is switched off.";
    if (!ours.length) return `${label()} is not recorded ${where}.`;
    const settings = wanted.filter((name) => ours.every(({ setting }) => setting !== name));
    const sparse = wanted.some((name) => name !== "dense");
    const networks = models.filter((model) => sparse && ours.every((cell) => cell.model !== model || !cell.sparsity));
    const parts = [settings.length ? named(settings) : "", networks.join(", ")].filter(Boolean);
    return parts.length ? `Not recorded ${where}: ${parts.join("; ")}.` : "";
  }

  function panel(heading, shown, made, lacks, rows) {
    return element("section", {}, element("p", { class: "explorer-heading" }, heading),
      ...(shown.length ? [made(shown, `${label()}: ${heading}`)] : []),
      ...(lacks ? [element("p", { class: "explorer-missing" }, lacks)] : []),
      ...(shown.length ? [rows] : []));
  }

  const ofNetwork = (all) => all.filter(({ model }) => model === picked.network);
  const ofSparsity = (all) => all.filter(({ sparsity }) => !sparsity || sparsity === picked.sparsity);

  function draw() {
    const all = cells();
    const [curve, level] = [ofNetwork(all), ofSparsity(all)];
    const plain = cells("value").filter(({ paper }) => !paper);
    const values = [...ofNetwork(plain), ...ofSparsity(plain)];
    const { images, floor, note } = measured() || { floor: null };
    const { better } = metric();
    const sentences = [`Profile ${set().label}: ${set().purpose}.`];
    if (!isGap()) {
      if (better) sentences.push(`${better === "higher" ? "Higher" : "Lower"} is better.`);
    } else if (better) {
      sentences.push(`Above 0 the ${better === "higher" ? "dense" : "sparse"} network is the better one.`);
    } else {
      sentences.push("Above 0 the dense network has the higher value.");
    }
    if (images) sentences.push(`Measured on ${images} images.`);
    if (values.some(({ n }) => n === 1)) {
      const line = isGap() ? "" : ", or for the dense network a line without a band";
      sentences.push(`One seed is a hollow marker${line}: it has no interval and decides nothing.`);
    }
    if (floor !== null && values.length && values.every(({ mean }) => mean <= floor)) {
      sentences.push(`No network here is above ${floor}\u00a0%, which guessing alone may reach on so many images: nothing can be read from this.`);
    }
    if (note) sentences.push(note);
    status.textContent = sentences.join(" ");
    const update = (name, values) => Object.assign(document.getElementById(`explorer-${name}`) || {}, values);
    update("dense", { disabled: isGap() });
    update("paper", { disabled: !published(picked.show).length, checked: showsPaper() });
    const shows = isGap() ? ", dense minus sparse" : "";
    const dense = isGap() ? "" : "dense, and ";
    redraw(charts,
      panel(`${picked.network}, all sparsities${shows}`, curve, bySparsity,
        missing(curve, `for ${picked.network}`, []), table(`${label()}: ${picked.network}${shows}`, "Sparsity", curve)),
      panel(`All networks, sparsity ${picked.sparsity}${shows}`, level, byNetwork,
        missing(level, `at sparsity ${picked.sparsity}`, set().models),
        table(`${label()}: ${dense}at sparsity ${picked.sparsity}${shows}`, "Network", level)));
  }

  // ------------------------------------------------------------ CSV

  // A text that no spreadsheet takes for a formula, as presentation/foreign.py writes it.
  function csvCell(entry) {
    const text = String(entry);
    const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
    const safe = isNumber ? text : text.replace(/[^\P{C}]|[^\P{Z} \u00a0]/gu, " ")
      .replace(/(^|;)(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])/g, "$1'");
    return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  // What the two pictures show, a row a cell.
  function csv() {
    const all = cells();
    const level = new Set([...ofNetwork(all), ...ofSparsity(all)]);
    const shown = all.filter((cell) => level.has(cell));
    const numbers = [...new Set(shown.flatMap((cell) => cell.seeds.map(([seed]) => seed)))].sort((a, b) => a - b);
    const fine = (amount) => (amount === undefined ? "" : round(amount, metric().digits + 3));
    const rows = shown.map((cell) => [
      cell.paper ? "the paper, Figure 1, read off" : set().label, metric().label, isGap() ? "dense minus sparse" : "value",
      cell.model, style(cell.setting).label, cell.sparsity, cell.n ?? "", ...[cell.mean, cell.low, cell.high].map(fine),
      ...numbers.map((seed) => fine((cell.seeds.find(([other]) => other === seed) || [])[1]))]);
    const head = ["source", "metric", "shown", "network", "ratio", "sparsity", "seeds", "mean", "low", "high",
      ...numbers.map((seed) => `seed ${seed}`)];
    return [head, ...rows].map((row) => `${row.map(csvCell).join(",")}\n`).join("");
  }

  function save() {
    const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    const name = [picked.data, picked.metric, picked.show, picked.network, picked.sparsity].join("_");
    element("a", { href: address, download: `${name.replace(/[^\w.-]+/g, "-")}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  read();
  drawControls();
  follow(charts, draw);
})();
