// The page on which a reader trains. It starts one worker (train_it_worker.js) at a time, draws what
// that answers and keeps the finished pairs; its images and colours are in window.TRAIN_IT.
"use strict";

(() => {
  const root = document.getElementById("train-it-root");
  const source = window.TRAIN_IT;
  if (!root) return;
  if (!source) {
    root.textContent = "The data of this page is made by make book and is missing here.";
    return;
  }

  const { element, number, labelled, select, table, redraw, follow, plot, shape, write, rule, line, marker, ink, key } =
    window.charts;
  const WIDTHS = [16, 32, 64, 128, 256, 512];
  const SPARSITIES = [0.5, 0.8, 0.9, 0.95];
  const RATIOS = ["uniform", "erk"];
  const PATIENCE = 20; // seconds without an answer after which a worker is given up
  const { SCHEDULE } = perceptron();
  const data = {
    images: Uint8Array.from(atob(source.images), (letter) => letter.charCodeAt(0)),
    labels: Uint8Array.from(source.labels, Number),
    test: source.test,
  };
  const finished = []; // pairs with `epochs`, one entry an epoch, and `gap`, in points
  const waiting = [];
  let current = null; // the pair in training, then the last one
  let worker = null; // null: nothing is in training
  let silent = 0;

  // ------------------------------------------------------------ small helpers

  const look = (ratio) => source.styles[ratio];
  const figure = (fraction) => number(100 * fraction, 1);
  const percent = (fraction) => `${figure(fraction)}\u00a0%`;
  const points = (gap) => number(gap, 1);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const last = (pair) => pair.epochs[pair.epochs.length - 1];
  const same = (a, b) => ["width", "sparsity", "ratio", "seed"].every((key) => a[key] === b[key]);
  const called = ({ width, sparsity, ratio, seed }) =>
    `width ${width}, sparsity ${sparsity}, ${look(ratio).label}, seed ${seed}`;
  const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;

  // ------------------------------------------------------------ controls

  function choice(name, label, options, value) {
    const list = select(`train-it-${name}`, options, value);
    controls.append(labelled(label, list));
    return list;
  }

  const plain = (values) => values.map((value) => [value, String(value)]);
  const controls = element("form", { class: "explorer-controls" });
  const width = choice("width", "Width (hidden units)",
    [...plain(WIDTHS), ["all", "all of them, one after the other"]], 16);
  const sparsity = choice("sparsity", "Sparsity", plain(SPARSITIES), 0.9);
  const ratio = choice("ratio", "Ratio", RATIOS.map((name) => [name, look(name).label]), "erk");
  const seed = element("input",
    { id: "train-it-seed", type: "number", min: 0, max: 9999, step: 1, value: 0, required: "" });
  controls.append(labelled("Seed", seed));
  const seeds = choice("seeds", "Seeds to train",
    [[1, "this one"], [3, "this one and the next two"], [5, "this one and the next four"]], 1);
  const stop = element("button", { type: "button", class: "train-it-stop" }, "Stop");
  controls.append(element("div", { class: "train-it-buttons" },
    element("button", { type: "submit" }, "Train"), stop));
  const status = element("p", { role: "status", class: "explorer-status" },
    "Nothing is trained yet. Choose a width, then press Train.");
  const progress = element("progress", { max: SCHEDULE.epochs, value: 0, "aria-label": "Epochs of this pair" });
  const live = element("p", { class: "train-it-live" });
  const charts = element("div", { class: "explorer-charts" });
  const rows = element("div");
  root.replaceChildren(controls, status, progress, live, charts, rows);

  controls.addEventListener("submit", (event) => {
    event.preventDefault();
    const widths = width.value === "all" ? WIDTHS : [Number(width.value)];
    const wanted = widths.flatMap((units) => Array.from({ length: Number(seeds.value) }, (_, place) => (
      { width: units, sparsity: Number(sparsity.value), ratio: ratio.value,
        seed: Number(seed.value) + place, epochs: [] })));
    const known = [...finished, ...waiting, ...(worker ? [current] : [])];
    const added = wanted.filter((pair) => !known.some((other) => same(pair, other)));
    waiting.push(...added);
    if (!worker) next(added.length ? "" : `${sentence(called(wanted[0]))} is trained already: see the table.`);
    else say(added.length ? "" : "That is in training, waiting or trained already.");
  });
  stop.addEventListener("click", () => {
    if (worker) give(`Stopped: ${called(current)} is not finished.`);
    else say("Nothing is in training.");
  });
  sparsity.addEventListener("change", draw);

  // What happened, then what is in training and how many pairs wait.
  function say(happened) {
    const rest = waiting.length === 1 ? "; one pair waits" : `; ${waiting.length} pairs wait`;
    const now = worker ? `In training: ${called(current)}${waiting.length ? rest : ""}.` : "";
    status.textContent = `${happened} ${now}`.trim();
  }

  // ------------------------------------------------------------ the worker

  // Made from text: browsers refuse a worker that lies beside a page that was opened from a file.
  const code = `"use strict";\n${perceptron}\n(${answerWithTraining})(perceptron());`;
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));

  function next(happened) {
    if (!waiting.length) {
      say(happened);
      return;
    }
    current = waiting.shift();
    silent = 0;
    try {
      const made = new Worker(address);
      worker = made;
      made.onmessage = (message) => { // not one that arrives late, after Stop
        if (made === worker) note(message.data);
      };
      made.onerror = (event) => {
        event.preventDefault();
        const reason = event.message || "the browser gives no reason";
        if (made === worker) give(`The training of ${called(current)} failed: ${reason}.`);
      };
      made.postMessage({ data, pair: current });
      say(happened);
    } catch (error) {
      give(`This browser starts no training: ${error.message}.`);
    }
    draw();
  }

  function note(epoch) {
    silent = 0;
    current.epochs.push(epoch);
    if (epoch.epoch === SCHEDULE.epochs) {
      end();
      current.gap = 100 * (epoch.dense - epoch.pruned);
      finished.push(current);
      drawRows();
      next(`${sentence(called(current))}: dense ${percent(epoch.dense)}, pruned ` +
        `${percent(epoch.pruned)}, gap ${points(current.gap)} points.`);
    }
    draw();
  }

  function end() {
    if (worker) worker.terminate();
    worker = null;
  }

  // Gives up what is in training and what waits; finished pairs stay.
  function give(reason) {
    end();
    waiting.length = 0;
    say(`${reason} The finished pairs are kept. Press Train to train again.`);
    draw();
  }

  // A worker that the browser ends says nothing, so its answers are waited for.
  setInterval(() => {
    silent += 1;
    if (worker && silent >= PATIENCE) {
      give(`The training of ${called(current)} has not answered for ${PATIENCE} seconds and is given up.`);
    }
  }, 1000);

  // ------------------------------------------------------------ pictures

  // What stands in axes that have nothing to draw.
  function nothing(svg, { x, y, w, h }, words) {
    svg.classList.add("empty");
    svg.append(write(x + w / 2, y + h / 2, words, { "text-anchor": "middle", class: "nothing" }));
  }

  // A marker, or a dot, that says something.
  function point(svg, name, x, y, words, dot = false) {
    const node = shape("g", { class: "point" },
      ...(dot ? [shape("circle", { cx: x, cy: y, r: 2.5, fill: ink(look(name).colour) })] : marker(look(name), x, y)));
    svg.append(node);
    return { node, x, y, text: words };
  }

  // Test accuracy of both twins after each epoch.
  function curves() {
    const { epochs, ratio: name } = current || { epochs: [], ratio: "erk" };
    const values = epochs.flatMap(({ dense, pruned }) => [100 * dense, 100 * pruned]);
    const about = epochs.length
      ? `${sentence(called(current))}. After epoch ${epochs.length}: dense ${percent(last(current).dense)}, ` +
        `pruned ${percent(last(current).pruned)}.`
      : "Nothing is trained yet.";
    const across = [1, 10, 20, 30].map((epoch) => [epoch, String(epoch)]);
    const axes = { name: "train-it-curves", title: "Test accuracy (%) against epoch", about, label: "Test accuracy (%)",
      caption: "Epoch", values: values.length ? values : [0, 100], span: [0, SCHEDULE.epochs + 1], across };
    return plot(charts, axes, (svg, x, y, inner) => {
      if (!epochs.length) {
        nothing(svg, inner, "no epoch is finished yet");
        return [];
      }
      key(svg, inner.x + inner.w, [[look("dense"), "dense"], [look(name), `pruned, ${look(name).label}`]]);
      for (const [twin, style] of [["dense", "dense"], ["pruned", name]]) {
        const places = epochs.map((entry) => [x(entry.epoch), y(100 * entry[twin])]);
        svg.append(line(places, look(style).colour, 2));
      }
      return epochs.map(({ epoch, dense, pruned }) => point(svg, name, x(epoch), y(100 * pruned),
        `Epoch ${epoch}: dense ${percent(dense)}, pruned ${percent(pruned)}`, epoch < epochs.length));
    });
  }

  const shown = () => finished.filter((pair) => pair.sparsity === Number(sparsity.value));

  // Mean gaps of the shown pairs, in the order of the widths: [ratio, width, gap, seeds].
  function means() {
    return RATIOS.flatMap((name) => WIDTHS.flatMap((units) => {
      const gaps = shown().filter((pair) => pair.ratio === name && pair.width === units).map((pair) => pair.gap);
      return gaps.length ? [[name, units, mean(gaps), gaps.length]] : [];
    }));
  }

  // Every finished pair of the chosen sparsity, and a line through the means over seeds.
  function gaps() {
    const found = means();
    const values = [0, ...shown().map((pair) => pair.gap), ...(found.length ? [] : [10])];
    const across = WIDTHS.map((units, place) => [place, String(units)]);
    const aside = (name) => (RATIOS.indexOf(name) - (RATIOS.length - 1) / 2) * 0.16;
    const axes = { name: "train-it-gaps", title: "Dense minus pruned (points) against width", about: summary(),
      label: "Dense minus pruned (points)", caption: "Width", values, span: [-0.5, WIDTHS.length - 0.5], across };
    return plot(charts, axes, (svg, x, y, inner) => {
      if (!found.length) nothing(svg, inner, "no pair is finished yet");
      else svg.append(rule(inner.x, y(0), inner.x + inner.w, y(0), { class: "zero" }));
      const at = (name, units) => x(WIDTHS.indexOf(units) + aside(name));
      for (const name of RATIOS) {
        const places = found.filter(([other]) => other === name).map(([, units, gap]) => [at(name, units), y(gap)]);
        if (places.length) svg.append(line(places, look(name).colour, 1.4));
      }
      const names = RATIOS.filter((name) => found.some(([other]) => other === name));
      key(svg, inner.x + inner.w, names.map((name) => [look(name), look(name).label]));
      return shown().map((pair) => point(svg, pair.ratio, at(pair.ratio, pair.width), y(pair.gap),
        `${sentence(called(pair))}: ${points(pair.gap)} points`));
    });
  }

  // ------------------------------------------------------------ text and table

  function summary() {
    const found = means();
    if (!found.length) return `No pair of sparsity ${sparsity.value} is finished yet.`;
    return RATIOS.filter((name) => found.some(([other]) => other === name)).map((name) => {
      const parts = found.filter(([other]) => other === name)
        .map(([, units, gap, n]) => `${points(gap)} at width ${units} (${n === 1 ? "one seed" : `${n} seeds`})`);
      return `Mean gap in points, ${look(name).label}: ${parts.join(", ")}.`;
    }).join(" ");
  }

  function drawRows() {
    const order = (a, b) => a.sparsity - b.sparsity || RATIOS.indexOf(a.ratio) - RATIOS.indexOf(b.ratio) ||
      a.width - b.width || a.seed - b.seed;
    rows.replaceChildren(table("Finished pairs: test accuracy of both twins, and the gap in points",
      ["Width", "Ratio", "Seed", "Gap", "Dense (%)", "Pruned (%)", "Sparsity"],
      [...finished].sort(order).map((pair) => [
        pair.width, look(pair.ratio).label, pair.seed, points(pair.gap), figure(last(pair).dense),
        figure(last(pair).pruned), pair.sparsity].map(String))));
  }

  function panel(heading, svg, words) {
    return element("section", {}, element("p", { class: "explorer-heading" }, heading), svg, element("p", {}, words));
  }

  function draw() {
    const done = current ? current.epochs.length : 0;
    progress.value = done;
    live.textContent = done
      ? `Epoch ${done} of ${SCHEDULE.epochs}: dense ${percent(last(current).dense)}, ` +
        `pruned ${percent(last(current).pruned)}`
      : "No epoch is finished yet.";
    redraw(charts,
      panel(current ? sentence(called(current)) : "Learning curves", curves(), ""),
      panel(`All finished pairs of sparsity ${sparsity.value}`, gaps(), means().length ? summary() : ""));
  }

  follow(charts, draw);
})();
