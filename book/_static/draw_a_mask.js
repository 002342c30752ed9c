// Draw a mask: the ratios of randprune_core/pruning/ratios.py and the masks of pruning/masks.py,
// in the browser. Both keep the order of their operations, so that all counts are the same; a test
// compares them. Networks, labels and colours come from bookmaking/draw_a_mask.py.
"use strict";

(() => {
  const roots = ["choice", "layers", "budget", "picture"].map((name) => document.getElementById(`mask-${name}`));
  const data = window.RANDPRUNE_LAYERS;
  if (roots.includes(null)) return;
  const [choice, layerRoot, budgetRoot, pictureRoot] = roots;
  if (!data) {
    choice.textContent = "The data of this page is made by make book and is missing here.";
    return;
  }

  const { element, fill, round, number, labelled, select, table, redraw, follow, sheet, pointed, shape, write, rule, ink, ticks,
    axisWidth } = window.charts;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  for (const network of data.networks) {
    network.layers = network.layers.map(([name, shape, macs]) => {
      const size = shape.reduce((product, length) => product * length, 1);
      return { name, shape, size, edges: sum(shape), positions: macs / size };
    });
  }

  // ------------------------------------------------------------ ratios: layers, sparsity -> sparsity by layer

  const weights = (layers) => sum(layers.map((layer) => layer.size));
  const firstConv = (layers) => layers.find((layer) => layer.shape.length > 2);
  const lastLinear = (layers) => layers.filter((layer) => layer.shape.length === 2).pop();
  const everywhere = (layers, sparsity) => new Map(layers.map((layer) => [layer, sparsity]));

  function cannotGive(layers, sparsity, why, held) {
    const total = weights(layers);
    const most = Math.floor((1 - held / total) * 1e4) / 1e4;
    return new RangeError(
      `${why}, which takes ${whole(held)} weights, and the budget is ${whole((1 - sparsity) * total)}` +
      ` of ${whole(total)}: choose a sparsity below ${most}, or another ratio.`);
  }

  function uniformPlus(layers, sparsity) {
    const first = firstConv(layers);
    const last = lastLinear(layers);
    const rest = weights(layers) - first.size;
    let budget = (1 - sparsity) * weights(layers) - first.size;
    if (budget <= 0) throw cannotGive(layers, sparsity, `${first.name} stays dense`, first.size);
    let density = budget / rest;
    let lastDensity = density;
    if (density < data.last_layer_min_density) {
      lastDensity = data.last_layer_min_density;
      budget -= lastDensity * last.size;
      if (budget <= 0 || rest === last.size) {
        const held = Math.ceil(first.size + lastDensity * last.size);
        throw cannotGive(layers, sparsity, `${first.name} stays dense and ${last.name} at density ${lastDensity}`, held);
      }
      density = budget / (rest - last.size);
    }
    return new Map(layers.map((layer) =>
      [layer, 1 - (layer === last ? lastDensity : layer === first ? 1 : density)]));
  }

  function erk(layers, sparsity) {
    const budget = (1 - sparsity) * weights(layers);
    const pinned = new Set(sparsity ? [] : layers);
    while (pinned.size < layers.length) {
      const free = layers.filter((layer) => !pinned.has(layer));
      const scale = (budget - weights([...pinned])) / sum(free.map((layer) => layer.edges));
      const density = (layer) => (scale * layer.edges) / layer.size;
      const over = free.filter((layer) => density(layer) >= 1);
      if (!over.length) return new Map(layers.map((layer) => [layer, pinned.has(layer) ? 0 : 1 - density(layer)]));
      over.forEach((layer) => pinned.add(layer));
    }
    return everywhere(layers, 0);
  }

  function erkPlus(layers, sparsity) {
    if (sparsity === 0) return everywhere(layers, 0);
    const last = lastLinear(layers);
    const budget = (1 - sparsity) * weights(layers) - last.size;
    if (budget <= 0) throw cannotGive(layers, sparsity, `${last.name} stays dense`, last.size);
    const others = layers.filter((layer) => layer !== last);
    return erk(others, 1 - budget / weights(others)).set(last, 0);
  }

  const ratios = { uniform: everywhere, uniform_plus: uniformPlus, erk, erk_plus: erkPlus };

  const keptCount = (sparsity, size) => Math.max(1, round((1 - sparsity) * size));

  // ------------------------------------------------------------ masks: torch.randperm from a seed

  // The first two words of SHA-256 of a text of at most 55 bytes, FIPS 180-4.
  function sha256(text) {
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > 55) throw new RangeError(`${text}: longer than 55 bytes`);
    const block = new DataView(new ArrayBuffer(64));
    bytes.forEach((byte, place) => block.setUint8(place, byte));
    block.setUint8(bytes.length, 0x80);
    block.setUint32(60, bytes.length * 8);
    const primes = [];
    for (let n = 2; primes.length < 64; n += 1) if (primes.every((p) => n % p)) primes.push(n);
    const fraction = (value) => Math.floor((value % 1) * 2 ** 32);
    const turn = (word, by) => (word >>> by) | (word << (32 - by));
    const w = Array.from({ length: 16 }, (_, place) => block.getUint32(4 * place));
    const start = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
    let state = start;
    for (let t = 0; t < 64; t += 1) {
      if (t > 15) {
        const [x, y] = [w[t - 15], w[t - 2]];
        w[t] = (w[t - 16] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + w[t - 7] + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10))) >>> 0;
      }
      const [a, b, c, d, e, f, g, h] = state;
      const one = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + fraction(Math.cbrt(primes[t])) + w[t];
      const two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      state = [(one + two) >>> 0, a, b, c, (d + one) >>> 0, e, f, g];
    }
    return [0, 1].map((place) => (start[place] + state[place]) >>> 0);
  }

  // The Mersenne Twister MT19937 of PyTorch's CPU generator; a call gives a whole number of 32 bits.
  function twister(seed) {
    const state = new Uint32Array(624);
    state[0] = seed;
    for (let k = 1; k < 624; k += 1) state[k] = Math.imul(1812433253, state[k - 1] ^ (state[k - 1] >>> 30)) + k;
    let place = 624;
    return () => {
      if (place === 624) {
        for (let k = 0; k < 624; k += 1) {
          const y = (state[k] & 0x80000000) | (state[(k + 1) % 624] & 0x7fffffff);
          state[k] = state[(k + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
        }
        place = 0;
      }
      let y = state[place];
      place += 1;
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      return (y ^ (y >>> 18)) >>> 0;
    };
  }

  // 1 for each kept weight of a layer, flat: the mask of random_masks(model, sparsities, seed).
  function drawMask(layer, kept, seed) {
    const [high, low] = sha256(`${seed}\0${layer.name}`);
    const random = twister(((high << 31) | (low >>> 1)) >>> 0); // PyTorch takes the last 32 bits of the seed
    const order = new Uint32Array(layer.size).map((_, place) => place);
    const mask = new Uint8Array(layer.size);
    for (let k = 0; k < kept; k += 1) {
      const other = k + (k < layer.size - 1 ? random() % (layer.size - k) : 0);
      mask[order[other]] = 1;
      order[other] = order[k];
    }
    return mask;
  }

  // ------------------------------------------------------------ small helpers

  const whole = (count) => number(count);
  const percent = (part, total) => number((100 * part) / total, 1);
  const lengths = (layer) => layer.shape.join(" × ");

  // ------------------------------------------------------------ controls

  const networkList = select("mask-network", data.networks.map(({ name, label }) => [name, label]));
  const ratioList = select("mask-ratio", data.ratios.map(({ name, label }) => [name, label]));
  const slider = element("input", { id: "mask-sparsity", type: "range", min: 0, max: 0.99, step: 0.01, value: 0.9 });
  const level = element("output", { for: slider.id });
  const totals = element("div", { role: "status", class: "mask-totals" });
  const layerList = select("mask-layer", []);
  const seedField = element("input", { id: "mask-seed", type: "number", min: 0, max: 999999, step: 1, value: 0 });
  const again = element("button", { type: "button" }, "Redraw");
  const canvas = element("canvas", { role: "img" });
  const axes = shape("svg", { "aria-hidden": "true" });
  const AXIS = { left: 58, top: 44 }; // room for numbers and names of its rows and columns
  Object.assign(canvas.style, { left: `${AXIS.left}px`, top: `${AXIS.top}px` });
  const about = element("p", { role: "status" });
  const code = element("code");

  const form = (...controls) => {
    const made = element("form", { class: "explorer-controls" }, ...controls);
    made.addEventListener("submit", (event) => event.preventDefault());
    return made;
  };
  const sliderLabel = element("label", { for: slider.id }, "Sparsity ");
  choice.replaceChildren(
    form(labelled("Network", networkList), labelled("Ratio", ratioList),
      element("div", {}, sliderLabel, level, slider)),
    totals);
  const layerRow = fill(labelled("Layer", layerList), { class: "mask-row" }, []);
  const drawn = element("div", {}, form(layerRow, labelled("Seed", seedField), again),
    element("div", { class: "mask-plate" }, axes, canvas), about, element("p", {}, "The same mask in Python:"), element("pre", { tabindex: 0 }, code));
  const none = () => element("p", {}, "There is no such mask: the reason stands below the choice of sparsity.");

  networkList.value = data.networks.some(({ name }) => name === "resnet-20") ? "resnet-20" : data.networks[0].name;
  ratioList.value = "erk";
  networkList.addEventListener("change", () => { listLayers(); draw(); });
  ratioList.addEventListener("change", draw);
  slider.addEventListener("input", draw);
  layerList.addEventListener("change", draw);
  seedField.addEventListener("change", () => { seedField.value = seed(); drawPicture(); });
  new MutationObserver(() => { if (canvas.isConnected) drawPicture(); })
    .observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  again.addEventListener("click", () => { seedField.value = (seed() + 1) % (Number(seedField.max) + 1); drawPicture(); });

  const network = () => data.networks.find(({ name }) => name === networkList.value);
  const ratio = () => data.ratios.find(({ name }) => name === ratioList.value);
  const seed = () => Math.min(Math.max(Math.trunc(Number(seedField.value)) || 0, 0), Number(seedField.max));
  const chosen = () => network().layers[Number(layerList.value)];

  function listLayers() {
    layerList.replaceChildren(...network().layers.map((layer, place) =>
      element("option", { value: place }, `${place + 1}. ${layer.name} (${lengths(layer)})`)));
    layerList.value = 1; // of the first block
  }

  // ------------------------------------------------------------ totals, bars and tables

  let kept = new Map(); // weights by layer

  function draw() {
    const { layers, label, side } = network();
    const sparsity = Number(slider.value);
    level.textContent = sparsity.toFixed(2);
    try {
      const found = ratios[ratio().name](layers, sparsity);
      kept = new Map(layers.map((layer) => [layer, keptCount(found.get(layer), layer.size)]));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      totals.replaceChildren(element("p", {},
        `${ratio().label} cannot reach sparsity ${sparsity} in ${label}: ${error.message}`));
      for (const root of [layerRoot, budgetRoot, pictureRoot]) root.replaceChildren(none());
      return;
    }
    const macs = (layer) => layer.positions * kept.get(layer);
    const allMacs = sum(layers.map((layer) => layer.positions * layer.size));
    const allKept = sum([...kept.values()]);
    const total = (number, text) => element("p", {}, element("strong", {}, number), text);
    totals.replaceChildren(
      total(whole(allKept), `of ${whole(weights(layers))} weights kept`),
      total(whole(sum(layers.map(macs))), `of ${whole(allMacs)} MACs kept`),
      total(`${percent(sum(layers.map(macs)), allMacs)}\u00a0%`, `of the MACs, for one image of ${side}\u00a0×\u00a0${side}`));
    redraw(layerRoot, bars(layers), table(
      `Kept weights of each layer: ${label}, ${ratio().label}, sparsity ${sparsity}`,
      ["Layer", "Shape", "Weights", "Kept", "Density (%)", "Share of kept (%)", "MACs"],
      layers.map((layer, place) => [
        breakable(`${place + 1}. ${layer.name}`), lengths(layer), whole(layer.size), whole(kept.get(layer)),
        percent(kept.get(layer), layer.size), percent(kept.get(layer), allKept), whole(macs(layer)),
      ])));
    drawBudget(layers);
    pictureRoot.replaceChildren(drawn);
    drawPicture();
  }

  // A name that may break after its dots.
  const breakable = (name) =>
    element("span", {}, ...name.split(/(?<=\.)/).flatMap((part) => [part, element("wbr")]));

  // Shares by the size of the feature map that layers put out.
  function drawBudget(layers) {
    const groups = [...new Set(layers.map((layer) => layer.positions))].map((positions) =>
      layers.filter((layer) => layer.positions === positions));
    const columns = [
      ["All weights", (layer) => layer.size],
      ["Kept weights", (layer) => kept.get(layer)],
      ["Dense MACs", (layer) => layer.size * layer.positions],
      ["Kept MACs", (layer) => kept.get(layer) * layer.positions],
    ];
    const share = (group, value) => {
      const text = percent(sum(group.map(value)), sum(layers.map(value)));
      return element("td", { style: `--share: ${text}%` }, text);
    };
    budgetRoot.replaceChildren(table(
      `Shares by feature map (%): ${network().label}, ${ratio().label}, sparsity ${Number(slider.value)}`,
      ["Feature map", ...columns.map(([head]) => head)],
      groups.map((group) => {
        const side = Math.sqrt(group[0].positions);
        const linear = group.every((layer) => layer.shape.length === 2);
        const count = `${group.length}\u00a0${group.length === 1 ? "layer" : "layers"}`;
        return [`${linear ? "linear" : `${side} × ${side}`}, ${count}`, ...columns.map(([, value]) => share(group, value))];
      })));
  }

  const RIGHT = 10; // margin
  const HEIGHT = 150; // of one row of bars

  // Two rows of bars over one axis: kept weights, and density.
  function bars(layers) {
    const width = Math.max(layerRoot.clientWidth, 260);
    const bottom = 2 * (HEIGHT + 36);
    const about = `Bars of the kept weights and of the density of ${layers.length} layers. The table that follows holds them.`;
    const title = `${network().label}, ${ratio().label}, sparsity ${Number(slider.value)}`;
    const svg = sheet("mask-bars", width, bottom + 42, title, about);
    const rows = [
      ["Kept weights", (layer) => kept.get(layer), Math.max(...kept.values())],
      ["Density (%)", (layer) => (100 * kept.get(layer)) / layer.size, 100],
    ].map((row) => [...row, ticks(0, row[2])]);
    const left = Math.max(62, axisWidth(rows.flatMap(([, , , marks]) => marks)));
    const step = (width - left - RIGHT) / layers.length;
    rows.forEach(([label, value, top, marks], row) => {
      const foot = (row + 1) * (HEIGHT + 36);
      svg.append(write(4, foot - HEIGHT - 14, label, { class: "label" }));
      for (const [tick, words] of marks) {
        const y = foot - (HEIGHT * tick) / top;
        svg.append(
          rule(left, y, width - RIGHT, y, { class: "grid" }),
          write(left - 6, y + 4, words, { "text-anchor": "end" }));
      }
      layers.forEach((layer, place) => svg.append(shape("rect", {
        x: left + step * (place + 0.1), width: step * 0.8,
        y: foot - (HEIGHT * value(layer)) / top, height: (HEIGHT * value(layer)) / top, fill: ink(ratio().colour),
      })));
    });
    const every = [1, 2, 5, 10, 20].find((count) => count * step >= 24);
    const points = layers.map((layer, place) => {
      const x = left + step * place;
      if ((place + 1) % every === 0 || (place === 0 && every !== 2)) {
        svg.append(write(x + step / 2, bottom + 16, String(place + 1), { "text-anchor": "middle" }));
      }
      const node = shape("rect", {
        x, width: step, y: 28, height: bottom - 28, class: layer === chosen() ? "column chosen" : "column",
      });
      node.addEventListener("click", () => {
        if (layer === chosen()) return;
        layerList.value = place;
        draw();
      });
      svg.append(node);
      return { node, x: x + step / 2, text: `${place + 1}. ${layer.name}: ${whole(kept.get(layer))} of ` +
        `${whole(layer.size)} weights, density ${percent(kept.get(layer), layer.size)}\u00a0%` };
    });
    svg.append(write((left + width) / 2, bottom + 36, "Layer, from the input to the output", { "text-anchor": "middle" }));
    return element("div", { class: "explorer-charts" }, pointed(svg, points));
  }

  // ------------------------------------------------------------ the picture of a mask

  // The value of a colour that may be a variable of the theme.
  function resolved(colour) {
    const [, name, plain] = colour.match(/^var\((.+), (.+)\)$/) || [null, "", colour];
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || plain;
  }

  // Numbers of rows or columns that have room, from 0, each with the middle of its row or column.
  function numbered(count, pitch, room) {
    const step = [1, 2, 5, 10, 20, 50, 100].find((each) => each * pitch >= room) || 200;
    return Array.from({ length: Math.ceil(count / step) }, (_, place) => [place * step, (place * step + 0.5) * pitch]);
  }

  // As the shape is written: output filters down, input channels across, and in a kernel height down, width across.
  function drawPicture() {
    const layer = chosen();
    const mask = drawMask(layer, kept.get(layer), seed());
    const [filters, inputs, high = 1, wide = 1] = layer.shape;
    const gap = high * wide > 1 ? 2 : 0; // between kernels
    const room = { width: Math.max(pictureRoot.clientWidth, 260) - AXIS.left, height: 720 };
    const fits = (square) => inputs * (wide * square + gap) <= room.width && filters * (high * square + gap) <= room.height;
    const square = [12, 11, 10, 9, 8, 7, 6, 5, 4].find(fits) || 3;
    const pitch = { x: wide * square + gap, y: high * square + gap };
    const across = Math.min(inputs, Math.floor(room.width / pitch.x));
    const down = Math.min(filters, Math.floor(room.height / pitch.y));
    canvas.width = across * pitch.x - gap;
    canvas.height = down * pitch.y - gap;
    const brush = canvas.getContext("2d");
    const inside = high * wide; // of a kernel
    [[0, "var(--mask-pruned, #e2e2e2)"], [1, ink(ratio().colour)]].forEach(([value, colour]) => {
      brush.fillStyle = resolved(colour);
      for (let filter = 0; filter < down; filter += 1) {
        for (let place = 0; place < across * inside; place += 1) {
          if (mask[filter * inputs * inside + place] !== value) continue;
          const x = Math.floor(place / inside) * pitch.x + (place % wide) * square;
          const y = filter * pitch.y + (Math.floor(place / wide) % high) * square;
          brush.fillRect(x, y, square - 1, square - 1);
        }
      }
    });
    const [output, input] = layer.shape.length > 2 ? ["Output filter", "Input channel"] : ["Output", "Input"];
    const middle = AXIS.top + canvas.height / 2;
    fill(axes, { width: AXIS.left + Math.max(canvas.width, 110), height: AXIS.top + Math.max(canvas.height, 90) + 6 }, []);
    axes.replaceChildren(
      write(AXIS.left, 14, input, { class: "label" }),
      write(14, middle, output, { class: "label", "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }),
      ...numbered(across, pitch.x, 30).map(([count, x]) =>
        write(AXIS.left + x, AXIS.top - 8, String(count), { "text-anchor": "middle" })),
      ...numbered(down, pitch.y, 20).map(([count, y]) =>
        write(AXIS.left - 8, AXIS.top + y + 4, String(count), { "text-anchor": "end" })));
    const empty = Array.from({ length: filters }, (_, filter) =>
      mask.subarray((filter * layer.size) / filters, ((filter + 1) * layer.size) / filters)).filter((part) => !part.includes(1)).length;
    const rows = layer.shape.length > 2 ? "output filter" : "output";
    const text = `${layer.name}, seed ${seed()}: ${whole(kept.get(layer))} of ${whole(layer.size)} weights kept. ` +
      (empty ? `${empty} of ${filters} ${rows}s ${empty === 1 ? "is" : "are"} empty.` : `Every ${rows} keeps some.`);
    canvas.setAttribute("aria-label", `The mask of ${text}`);
    about.textContent = down < filters || across < inputs
      ? `${text} The picture has room for ${down} of ${filters} rows and ${across} of ${inputs} columns.`
      : text;
    code.textContent = [
      "from randprune_core import build_model, layer_sparsities, random_masks",
      `model = build_model("${network().name}", num_classes=${network().classes})`,
      `sparsities = layer_sparsities("${ratio().name}", model, ${Number(slider.value)})`,
      `masks = random_masks(model, sparsities, seed=${seed()})`,
      `masks["${layer.name}"]  # ${layer.shape.length > 2 ? "[row, column, height, width]" : "[row, column]"} of the picture`,
    ].join("\n");
  }

  listLayers();
  follow(layerRoot, draw);
})();
