// What the pages with pictures have in common: nodes, controls, tables, axes, markers, and words that
// open at a point. Loaded before the script of the page.
"use strict";

window.charts = (() => {
  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  const element = (name, attributes = {}, ...children) =>
    fill(document.createElement(name), attributes, children);
  const shape = (name, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

  // As Python rounds, and with it the chapters: of two numbers that are equally near, to the even one.
  function round(value, digits = 0) {
    const further = value.toFixed(digits); // of two that are equally near, the one further from zero
    const halfway = Math.abs(value * 2 ** (digits + 1)) % 2 === 1; // no other double is
    const step = halfway && /[13579]$/.test(further) ? Math.sign(value) * 10 ** -digits : 0;
    return Number((Number(further) - step).toFixed(digits));
  }

  // With a true minus sign, and none before a zero.
  function number(value, digits = 0) {
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return (round(value, digits) + 0).toLocaleString("en-US", options).replace("-", "−");
  }

  // A colour as the theme of the page draws it, as in the figures (figures-ink.css): dark ink is the colour of the
  // text, white that of the page.
  function ink(colour) {
    if (colour === "#222222") return "currentColor";
    if (colour === "white") return "var(--figure-ground, white)";
    return `var(--figure-${colour.slice(1).toLowerCase()}, ${colour})`;
  }

  // ------------------------------------------------------------ controls and tables

  const labelled = (label, control) =>
    element("div", {}, element("label", { for: control.id }, label), control);

  // Entries are [value, text], or [title, entries] for a group.
  function select(id, entries, value) {
    const options = (some) => some.map(([first, second]) => (Array.isArray(second)
      ? element("optgroup", { label: first }, ...options(second))
      : element("option", { value: first }, second)));
    const list = element("select", { id }, ...options(entries));
    if (value !== undefined) list.value = String(value);
    return list;
  }

  function table(caption, heads, rows) {
    const long = rows.length > 15 ? " long" : "";
    const scroll = { class: `explorer-table${long}`, tabindex: 0, role: "region", "aria-label": caption };
    return element("div", scroll, element("table", { class: "table" },
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows.map(([first, ...cells]) => element("tr", {},
        element("th", { scope: "row" }, first),
        ...cells.map((cell) => (cell.nodeType ? cell : element("td", {}, cell))))))));
  }

  // Puts other nodes into a root; what had the focus there has it again, if it has the same label.
  function redraw(root, ...nodes) {
    const focused = root.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    root.replaceChildren(...nodes);
    if (!focused) return;
    const found = [...root.querySelectorAll("[tabindex]")].find((node) => node.getAttribute("aria-label") === focused);
    if (found) found.focus({ preventScroll: true });
  }

  // Draws at once, and each time the root has another width.
  function follow(root, draw) {
    draw();
    let width = root.clientWidth;
    new ResizeObserver(() => {
      if (root.clientWidth === width) return;
      width = root.clientWidth;
      draw();
    }).observe(root);
  }

  // ------------------------------------------------------------ axes and markers

  const HEIGHT = 300;

  function ticks(low, high) {
    const raw = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) {
      found.push([k * step, number(k * step, digits)]);
    }
    return found;
  }

  // Pixels left of an axis, for the longest of its numbers.
  const axisWidth = (marks) => Math.max(46, 13 + 6.9 * Math.max(...marks.map(([, words]) => words.length)));

  function limits(values) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    return [low - room, high + room];
  }

  const write = (x, y, words, attributes = {}) => shape("text", { x, y, ...attributes }, words);
  const rule = (x1, y1, x2, y2, attributes) => shape("line", { x1, y1, x2, y2, ...attributes });

  function sheet(name, width, height, title, about) {
    const id = `${name}-about`;
    return shape("svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": title, "aria-describedby": id,
    }, shape("desc", { id }, about));
  }

  // A picture in `root`, one of two beside each other where there is room. `span` is the range across, `across` has
  // [place, text] for each mark there, `values` are what has to fit. `paint(svg, x, y, inner)` draws into the axes
  // and returns the points that say something.
  function plot(root, { name, title, about, label, caption, values, span, across }, paint) {
    const two = root.clientWidth >= 2 * 340 + 24; // as in explorer.css
    const width = Math.max(two ? root.clientWidth / 2 - 12 : root.clientWidth, 260);
    const [low, high] = limits(values);
    const marks = ticks(low, high);
    const left = axisWidth(marks);
    const inner = { x: left, y: 34, w: width - left - 14 };
    const narrow = across.some(([, words]) => words.length * 7.5 > inner.w / across.length);
    const skip = narrow && across.every(([, words]) => words.length < 5);
    const tilted = narrow && !skip;
    const foot = HEIGHT - (tilted ? 52 : 30);
    inner.h = foot - 16 - inner.y;
    const x = (value) => inner.x + inner.w * (value - span[0]) / (span[1] - span[0]);
    const y = (value) => inner.y + inner.h * (high - value) / (high - low);
    const svg = sheet(name, width, HEIGHT, title, about);
    for (const [value, words] of marks) {
      svg.append(
        rule(inner.x, y(value), inner.x + inner.w, y(value), { class: "grid" }),
        write(inner.x - 6, y(value) + 4, words, { "text-anchor": "end" }));
    }
    across.forEach(([value, words], place) => {
      if (skip && place % Math.ceil((40 * across.length) / inner.w)) return;
      const tilt = tilted ? { transform: `rotate(-30 ${x(value)} ${foot})` } : {};
      svg.append(
        rule(x(value), inner.y, x(value), inner.y + inner.h, { class: "grid" }),
        write(x(value) + (tilted ? 10 : 0), foot, words, { "text-anchor": tilted ? "end" : "middle", ...tilt }));
    });
    svg.append(
      shape("rect", { x: inner.x, y: inner.y, width: inner.w, height: inner.h, class: "frame" }),
      write(4, 18, label, { class: "label" }));
    if (caption) svg.append(write(inner.x + inner.w / 2, HEIGHT - 8, caption, { "text-anchor": "middle" }));
    return pointed(svg, paint(svg, x, y, inner));
  }

  const path = (places, digits = 1) =>
    places.map(([a, b], k) => `${k ? "L" : "M"}${a.toFixed(digits)} ${b.toFixed(digits)}`).join("");

  const line = (places, colour, thickness, more = {}) =>
    shape("path", { d: path(places), stroke: ink(colour), "stroke-width": thickness, fill: "none", ...more });

  // A marker of three lines from its middle as a star around them, which has an inside.
  function star(marker) {
    const ends = [...marker.matchAll(/L([-\d.]+),([-\d.]+)/g)].map(([, a, b]) => [1.5 * a, 1.5 * b]);
    const corners = ends.flatMap(([a, b], k) => {
      const [c, d] = ends[(k + 1) % ends.length];
      return [[a, b], [0.35 * (a + c), 0.35 * (b + d)]];
    });
    return `${path(corners, 3)}Z`;
  }

  // The marker of a style of bookmaking/explorer.py, as a list that is empty where it has none. Without a spread over
  // seeds it is hollow: one seed, or, with `dashes` at its edge, a published value.
  function marker(style, x, y, hollow = false, dashes = "") {
    if (!style.marker) return [];
    return [shape("path", {
      d: style.filled ? style.marker : star(style.marker),
      transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(9)`,
      class: hollow ? "hollow" : "",
      fill: ink(hollow ? "white" : style.colour),
      stroke: ink(hollow ? style.colour : "white"),
      "stroke-width": hollow ? 1.5 : 1,
      "stroke-dasharray": dashes || "none",
      "vector-effect": "non-scaling-stroke",
    })];
  }

  // ------------------------------------------------------------ words at a point

  const NEAR = 24; // pixels from a point: with its two sides more than a fingertip needs
  let last = { frame: document, show() {} }; // the picture whose words were opened last

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") last.show(null);
  });
  document.addEventListener("pointerdown", (event) => {
    if (!last.frame.contains(event.target)) last.show(null);
  });

  // A picture whose points say their words where the pointer is near, where they are touched and where they have the
  // focus. Tab stops at one point of the picture, arrow keys lead to the others; Escape, a touch elsewhere and a
  // second touch close the words. A point is { node, x, y, text }; without an x or y it is a line across or down.
  function pointed(svg, points) {
    const tip = element("p", { class: "chart-tip", "aria-hidden": "true", hidden: "" });
    const frame = element("div", { class: "chart" }, svg, tip);
    let open = null;
    let before = null; // what was open when a touch began

    function show(point) {
      if (open) open.node.classList.remove("open");
      open = point;
      tip.hidden = !point;
      if (!point) return;
      point.node.classList.add("open");
      if (last.frame !== frame) last.show(null);
      last = { frame, show };
      tip.textContent = point.text;
      const { x = frame.clientWidth / 2, y = 40 } = point;
      const side = Math.min(x - tip.offsetWidth / 2, frame.clientWidth - tip.offsetWidth);
      tip.style.left = `${Math.max(side, 0)}px`;
      tip.style.top = `${y > tip.offsetHeight + 12 ? y - tip.offsetHeight - 12 : y + 12}px`;
    }

    function near(event) {
      const box = svg.getBoundingClientRect();
      const away = ({ x, y }) => Math.hypot(
        x === undefined ? 0 : x - (event.clientX - box.left), y === undefined ? 0 : y - (event.clientY - box.top));
      const closest = points.reduce((best, point) => (best && away(best) <= away(point) ? best : point), null);
      return closest && away(closest) <= NEAR ? closest : null;
    }

    function stop(place) {
      points.forEach(({ node }, other) => node.setAttribute("tabindex", other === place ? 0 : -1));
    }

    points.forEach((point) => fill(point.node, { role: "img", "aria-label": point.text }, []));
    stop(0);
    svg.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") show(near(event));
    });
    svg.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") show(null);
    });
    svg.addEventListener("pointerdown", () => { before = open; });
    svg.addEventListener("click", (event) => {
      if (!svg.isConnected) return; // the click has put another picture in its place
      const found = near(event);
      show(event.pointerType === "touch" && found === before ? null : found);
    });
    svg.addEventListener("focusin", (event) => {
      const place = points.findIndex(({ node }) => node === event.target);
      if (place < 0) return;
      stop(place);
      show(points[place]);
    });
    svg.addEventListener("focusout", () => show(null));
    svg.addEventListener("keydown", (event) => {
      const place = points.findIndex(({ node }) => node === event.target);
      const to = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1,
        Home: 0, End: points.length - 1 }[event.key];
      if (place < 0 || to === undefined) return;
      event.preventDefault();
      if (points[to]) points[to].node.focus();
    });
    return frame;
  }

  // What the looks of a picture mean, in the line above it, at its right: [style, words] for each. A style without a
  // marker is a line.
  function key(svg, right, entries) {
    let x = right;
    for (const [style, words] of [...entries].reverse()) {
      x -= 6.7 * words.length;
      svg.append(write(x, 18, words),
        ...(style.marker ? marker(style, x - 9, 14) : [line([[x - 20, 14], [x - 5, 14]], style.colour, 2)]));
      x -= 28;
    }
  }

  return { element, shape, fill, round, number, labelled, select, table, redraw, follow, sheet, plot, pointed, write, rule,
    line, marker, ink, key, ticks, axisWidth };
})();
