// A perceptron with one hidden layer, trained dense and with a random mask. The page train_it.js
// runs these two functions in a Web Worker that it makes from their text, which works from a file.
"use strict";

// The network and all that trains it. Activations and gradients of a batch lie one unit after the
// other, the images of the batch side by side, so that the work for a weight is one pass over the
// batch. A pruned weight is not stored: it stays zero, has no gradient and costs nothing.
function perceptron() {
  const SIDE = 8 * 8;
  const CLASSES = 10;
  const SCHEDULE = { epochs: 30, batch: 64, rate: 0.3, momentum: 0.9 };
  const ROLES = { weights: 1, mask: 2, order: 3 };

  // Numbers in [0, 1) from a seed (mulberry32); each role has a sequence of its own.
  function generator(seed, role) {
    let state = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(ROLES[role], 0x85ebca6b)) >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let bits = Math.imul(state ^ (state >>> 15), state | 1);
      bits = (bits + Math.imul(bits ^ (bits >>> 7), bits | 61)) ^ bits;
      return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296;
    };
  }

  // The whole numbers below `total` in a random order.
  function shuffled(total, random) {
    const order = Uint32Array.from({ length: total }, (_, place) => place);
    for (let place = total - 1; place > 0; place -= 1) {
      const other = Math.floor(random() * (place + 1));
      [order[place], order[other]] = [order[other], order[place]];
    }
    return order;
  }

  const shapes = (width) => [[width, SIDE], [CLASSES, width]];

  // Kept weights of each layer: of uniform, or of ERK, where a layer that would keep more than it
  // has is dense and the others share the rest.
  function keptCounts(sizes, sparsity, ratio) {
    const totals = sizes.map(([outputs, inputs]) => outputs * inputs);
    const share = ratio === "erk" ? sizes.map(([outputs, inputs]) => outputs + inputs) : totals;
    const kept = [...totals];
    let free = totals.map((_, layer) => layer);
    for (let full = [null]; full.length; free = free.filter((layer) => !full.includes(layer))) {
      const left = totals.reduce((sum, total, layer) => sum + (free.includes(layer) ? 0 : -total),
        (1 - sparsity) * totals.reduce((sum, total) => sum + total));
      const scale = left / free.reduce((sum, layer) => sum + share[layer], 0);
      full = free.filter((layer) => scale * share[layer] >= totals[layer]);
      if (!full.length) for (const layer of free) kept[layer] = Math.max(1, Math.round(scale * share[layer]));
    }
    return kept;
  }

  // The places of the weights that stay, in order: `kept` of them at random, or all.
  function places(total, kept, random) {
    return shuffled(total, random).subarray(0, kept).sort();
  }

  // Initial weights, uniform with the variance 2 / inputs (He et al. 2015), and biases of zero.
  // Both twins draw the same weights; `kept` says how many of each layer stay.
  function build(sizes, kept, seed) {
    const weights = generator(seed, "weights");
    const mask = generator(seed, "mask");
    return sizes.map(([outputs, inputs], layer) => {
      const reach = Math.sqrt(6 / inputs);
      const drawn = Float32Array.from({ length: outputs * inputs }, () => reach * (2 * weights() - 1));
      const stay = places(outputs * inputs, kept[layer], mask);
      const starts = new Int32Array(outputs + 1); // the kept weights of output o: starts[o] on
      for (const place of stay) starts[Math.floor(place / inputs) + 1] += 1;
      for (let output = 0; output < outputs; output += 1) starts[output + 1] += starts[output];
      return {
        inputs, outputs, starts,
        from: Int32Array.from(stay, (place) => place % inputs),
        weight: Float32Array.from(stay, (place) => drawn[place]),
        gradient: new Float32Array(stay.length),
        speed: new Float32Array(stay.length),
        bias: new Float32Array(outputs),
        biasGradient: new Float32Array(outputs),
        biasSpeed: new Float32Array(outputs),
        out: new Float32Array(outputs * SCHEDULE.batch),
        delta: new Float32Array(outputs * SCHEDULE.batch),
      };
    });
  }

  // Outputs of a layer for `count` images: bias and the weighted inputs, four weights at a time.
  function forward(layer, input, count, hidden) {
    const { outputs, starts, from, weight, bias, out } = layer;
    const step = SCHEDULE.batch;
    for (let output = 0; output < outputs; output += 1) {
      const row = output * step;
      const end = starts[output + 1];
      out.fill(bias[output], row, row + count);
      let k = starts[output];
      for (; k + 3 < end; k += 4) {
        const w0 = weight[k], w1 = weight[k + 1], w2 = weight[k + 2], w3 = weight[k + 3];
        let i0 = from[k] * step, i1 = from[k + 1] * step, i2 = from[k + 2] * step, i3 = from[k + 3] * step;
        for (let at = row; at < row + count; at += 1) {
          out[at] += w0 * input[i0++] + w1 * input[i1++] + w2 * input[i2++] + w3 * input[i3++];
        }
      }
      for (; k < end; k += 1) {
        let i = from[k] * step;
        for (let at = row; at < row + count; at += 1) out[at] += weight[k] * input[i++];
      }
      if (hidden) for (let at = row; at < row + count; at += 1) out[at] = Math.max(0, out[at]);
    }
    return out;
  }

  // Gradients of a layer from `layer.delta`, and the gradient of its inputs where `below` is given.
  function backward(layer, input, count, below) {
    const { outputs, starts, from, weight, gradient, biasGradient, delta } = layer;
    const step = SCHEDULE.batch;
    if (below) below.fill(0);
    for (let output = 0; output < outputs; output += 1) {
      const row = output * step;
      let sum = 0;
      for (let at = row; at < row + count; at += 1) sum += delta[at];
      biasGradient[output] = sum;
      let k = starts[output];
      const end = starts[output + 1];
      for (; k + 3 < end; k += 4) {
        let i0 = from[k] * step, i1 = from[k + 1] * step, i2 = from[k + 2] * step, i3 = from[k + 3] * step;
        let g0 = 0, g1 = 0, g2 = 0, g3 = 0;
        for (let at = row; at < row + count; at += 1) {
          const d = delta[at];
          g0 += d * input[i0++];
          g1 += d * input[i1++];
          g2 += d * input[i2++];
          g3 += d * input[i3++];
        }
        gradient[k] = g0;
        gradient[k + 1] = g1;
        gradient[k + 2] = g2;
        gradient[k + 3] = g3;
      }
      for (; k < end; k += 1) {
        let i = from[k] * step;
        let g = 0;
        for (let at = row; at < row + count; at += 1) g += delta[at] * input[i++];
        gradient[k] = g;
      }
      for (k = starts[output]; below && k < end; k += 1) {
        const w = weight[k];
        let i = from[k] * step;
        for (let at = row; at < row + count; at += 1, i += 1) below[i] += w * delta[at];
      }
    }
  }

  // Images `order[first]` on, as the columns of a batch; gives how many there are.
  function gather(data, order, first, batch) {
    const count = Math.min(SCHEDULE.batch, order.length - first);
    for (let column = 0; column < count; column += 1) {
      const image = order[first + column] * SIDE;
      for (let pixel = 0; pixel < SIDE; pixel += 1) {
        batch[pixel * SCHEDULE.batch + column] = data.images[image + pixel] / 16;
      }
    }
    return count;
  }

  // Gradients of the mean cross-entropy of a batch, kept in the layers; gives the loss.
  function gradients(layers, batch, labels, count) {
    const [first, last] = layers;
    const step = SCHEDULE.batch;
    const hidden = forward(first, batch, count, true);
    const logits = forward(last, hidden, count, false);
    let loss = 0;
    for (let column = 0; column < count; column += 1) {
      let top = -Infinity;
      let sum = 0;
      for (let unit = 0; unit < CLASSES; unit += 1) top = Math.max(top, logits[unit * step + column]);
      for (let unit = 0; unit < CLASSES; unit += 1) sum += Math.exp(logits[unit * step + column] - top);
      for (let unit = 0; unit < CLASSES; unit += 1) {
        const probability = Math.exp(logits[unit * step + column] - top) / sum;
        last.delta[unit * step + column] = (probability - (unit === labels[column] ? 1 : 0)) / count;
      }
      loss -= (logits[labels[column] * step + column] - top - Math.log(sum)) / count;
    }
    backward(last, hidden, count, first.delta);
    for (let at = 0; at < hidden.length; at += 1) if (hidden[at] === 0) first.delta[at] = 0;
    backward(first, batch, count, null);
    return loss;
  }

  // One step of gradient descent with momentum.
  function update(layers, rate) {
    for (const layer of layers) {
      move(layer.weight, layer.gradient, layer.speed, rate);
      move(layer.bias, layer.biasGradient, layer.biasSpeed, rate);
    }
  }

  function move(values, gradient, speed, rate) {
    for (let k = 0; k < values.length; k += 1) {
      speed[k] = SCHEDULE.momentum * speed[k] + gradient[k];
      values[k] -= rate * speed[k];
    }
  }

  // The fraction of the images of `order` whose largest output is that of their label.
  function accuracy(layers, data, order) {
    const batch = new Float32Array(SIDE * SCHEDULE.batch);
    let right = 0;
    for (let first = 0; first < order.length; first += SCHEDULE.batch) {
      const count = gather(data, order, first, batch);
      const logits = forward(layers[1], forward(layers[0], batch, count, true), count, false);
      for (let column = 0; column < count; column += 1) {
        let best = 0;
        for (let unit = 1; unit < CLASSES; unit += 1) {
          if (logits[unit * SCHEDULE.batch + column] > logits[best * SCHEDULE.batch + column]) best = unit;
        }
        if (best === data.labels[order[first + column]]) right += 1;
      }
    }
    return right / order.length;
  }

  // One pass over the training images in a given order.
  function epoch(layers, data, order, rate) {
    const batch = new Float32Array(SIDE * SCHEDULE.batch);
    for (let first = 0; first < order.length; first += SCHEDULE.batch) {
      const count = gather(data, order, first, batch);
      const labels = Array.from(order.subarray(first, first + count), (image) => data.labels[image]);
      gradients(layers, batch, labels, count);
      update(layers, rate);
    }
  }

  // Trains both twins, an epoch each in turn; yields their test accuracies after every epoch.
  // The last `data.test` images test. The learning rate falls to zero in a straight line.
  function* trainTwins(data, { width, sparsity, ratio, seed }) {
    const sizes = shapes(width);
    const counts = { dense: keptCounts(sizes, 0, "uniform"), pruned: keptCounts(sizes, sparsity, ratio) };
    const dense = build(sizes, counts.dense, seed);
    const pruned = build(sizes, counts.pruned, seed);
    const training = data.labels.length - data.test;
    const test = Uint32Array.from({ length: data.test }, (_, place) => training + place);
    const random = generator(seed, "order");
    for (let done = 0; done < SCHEDULE.epochs; done += 1) {
      const rate = SCHEDULE.rate * (1 - done / SCHEDULE.epochs);
      const order = shuffled(training, random);
      for (const twin of [dense, pruned]) epoch(twin, data, order, rate);
      yield { epoch: done + 1, dense: accuracy(dense, data, test), pruned: accuracy(pruned, data, test) };
    }
  }

  return {
    SCHEDULE, SIDE, shapes, generator, shuffled, keptCounts, build, gather, gradients, update, accuracy,
    trainTwins,
  };
}

// What the worker does with a message: train the pair that it asks for, an answer an epoch.
function answerWithTraining(network) {
  self.onmessage = ({ data: { data, pair } }) => {
    for (const result of network.trainTwins(data, pair)) self.postMessage(result);
  };
}
