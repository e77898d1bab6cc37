// The calculator: lab 02's cost model with knobs. Its functions are those of the lab, name for name, and
// tests/tests/interactive.rs holds them to the Rust ones, bit for bit: the same operations on the same
// f64, in the same order. No count of bytes in a setting of the knobs comes near 2^53, where whole numbers end.
(() => {
    "use strict";
    const { course } = window;

    // --- the cost model ---

    // Why there is no number: what the lab returns as an error.
    class Refusal extends Error {
        constructor(kind, text) {
            super(text);
            this.kind = kind;
        }
    }
    const refuse = (kind, text) => { throw new Refusal(kind, text); };
    const notZero = value => { if (value === 0) refuse("zero", "none fits"); };
    const positive = value => (value > 0 && Number.isFinite(value) ? value : refuse("not positive", "no rate"));

    function bytesFromGb(gigabytes) {
        const bytes = Math.round(gigabytes * 1e9);
        return gigabytes >= 0 && bytes < 2 ** 64 ? bytes : refuse("size", "no size");
    }

    // Bytes of so many numbers, without gaps.
    const packed = (numbers, bits) => Math.ceil(numbers * bits / 8);

    function matrixBytes(outFeatures, inFeatures, format) {
        const beside = format.shared.map(({ bits, group }) => {
            if (group !== null && inFeatures % group !== 0) {
                refuse("indivisible", `rows of ${inFeatures} do not divide by ${group}`);
            }
            return packed(outFeatures * (group === null ? 1 : inFeatures / group), bits);
        });
        const codes = packed(outFeatures * inFeatures, format.weights.bits);
        return beside.reduce((sum, more) => sum + more, codes);
    }

    // Query, key, value, output, gate, up, down: [out, in].
    function layerMatrices(model) {
        const [attention, kv] = [model.heads * model.headDim, model.kvHeads * model.headDim];
        const { hidden, intermediate } = model;
        return [
            [attention, hidden], [kv, hidden], [kv, hidden], [hidden, attention],
            [intermediate, hidden], [intermediate, hidden], [hidden, intermediate],
        ];
    }

    const linearWeights = model =>
        model.layers * layerMatrices(model).reduce((sum, [out, inputs]) => sum + out * inputs, 0);

    function vectorWeights(model) {
        const bias = model.qkvBias ? (model.heads + 2 * model.kvHeads) * model.headDim : 0;
        const norm = model.qkNorm ? 2 * model.headDim : 0;
        return model.layers * (2 * model.hidden + bias + norm) + model.hidden;
    }

    const linearBytes = (model, format) =>
        model.layers * layerMatrices(model).reduce((sum, [out, inputs]) => sum + matrixBytes(out, inputs, format), 0);

    // All but the linear layers is in 16 bits.
    const outsideTablesBytes = (model, format) => linearBytes(model, format) + packed(vectorWeights(model), 16);
    const tableBytes = model => packed(model.vocabulary * model.hidden, 16);
    const modelBytes = (model, format) => outsideTablesBytes(model, format) + (model.tied ? 1 : 2) * tableBytes(model);
    // What a step of decode reads: the head, but no embedding of its own.
    const stepWeightBytes = (model, format) => outsideTablesBytes(model, format) + tableBytes(model);

    const kvBytesPerToken = (model, kvBits) => packed(2 * model.layers * model.kvHeads * model.headDim, kvBits);

    function kvAvailableBytes(memoryBytes, utilization, takenBytes) {
        notZero(memoryBytes);
        if (!(utilization > 0 && utilization <= 1)) refuse("utilization", "no share");
        const left = Math.ceil(memoryBytes * utilization) - takenBytes;
        return left >= 0 ? left : refuse("no room", "does not start");
    }

    function kvBlocks(availableBytes, blockTokens, perToken) {
        notZero(blockTokens);
        return Math.floor(availableBytes / (blockTokens * perToken));
    }

    function concurrency(blocks, blockTokens, contextTokens) {
        notZero(contextTokens);
        return blocks / Math.ceil(contextTokens / blockTokens);
    }

    const UNITS = { sixteen: "16-bit", int8: "int8", fp8: "FP8", fp4: "FP4" };

    function operationsPerS(rates, format) {
        const units = [format.weights.unit, format.activations.unit];
        const unit = units.includes("sixteen") ? "sixteen" : format.activations.unit;
        const rate = rates[unit];
        if (rate === null) refuse("no unit", `no ${UNITS[unit]} unit`);
        return positive(rate);
    }

    const SIXTEEN = { weights: { unit: "sixteen" }, activations: { unit: "sixteen" } };

    // The roofline bound: the larger of the two times.
    function boundS({ memoryS, arithmeticS }) {
        for (const bound of [memoryS, arithmeticS]) if (bound !== 0) positive(bound);
        return positive(Math.max(memoryS, arithmeticS));
    }

    function step(bounds, tokens) {
        const tokensPerS = tokens / boundS(bounds);
        const binds = bounds.memoryS >= bounds.arithmeticS ? "bytes" : "arithmetic";
        return { memoryS: bounds.memoryS, arithmeticS: bounds.arithmeticS, tokensPerS, binds };
    }

    // A token for each of so many requests.
    function decode({ model, rates, terabytesPerS, kvBits, contextTokens }, format, batch) {
        notZero(batch);
        const bytes = stepWeightBytes(model, format) + batch * contextTokens * kvBytesPerToken(model, kvBits);
        const memoryS = bytes / positive(terabytesPerS * 1e12);
        const linearS = 2 * linearWeights(model) / operationsPerS(rates, format);
        const headS = 2 * (model.vocabulary * model.hidden) / operationsPerS(rates, SIXTEEN);
        return step({ memoryS, arithmeticS: batch * (linearS + headS) }, batch);
    }

    // A prompt as long as a request.
    function prefill({ model, rates, terabytesPerS, contextTokens: tokens }, format) {
        notZero(tokens);
        const memoryS = linearBytes(model, format) / positive(terabytesPerS * 1e12);
        const linear = 2 * linearWeights(model) * tokens;
        const attention = 4 * (model.layers * model.heads * model.headDim) * tokens * (tokens + 1) / 2;
        const arithmeticS = linear / operationsPerS(rates, format) + attention / operationsPerS(rates, SIXTEEN);
        return step({ memoryS, arithmeticS }, tokens);
    }

    // --- what it comes to ---

    // What `make` returns, or its refusal.
    function attempt(make) {
        try {
            return make();
        } catch (error) {
            if (error instanceof Refusal) return { refused: error.kind, text: error.message };
            throw error;
        }
    }

    // For `attempt`: what came before must be there.
    const given = before => (before.refused ? refuse(before.refused, before.text) : before);

    function predict(setting, format) {
        const { model, kvBits, utilization, blockTokens, contextTokens, batch } = setting;
        const weightBytes = attempt(() => modelBytes(model, format));
        const blocks = attempt(() => {
            const taken = given(weightBytes);
            const left = kvAvailableBytes(bytesFromGb(setting.memoryGb), utilization, taken);
            return kvBlocks(left, blockTokens, kvBytesPerToken(model, kvBits));
        });
        const fit = attempt(() => concurrency(given(blocks), blockTokens, contextTokens));
        const running = () => {
            const all = Math.min(batch, Math.floor(given(fit)));
            notZero(all);
            return all;
        };
        return {
            weightBytes,
            blocks,
            fit,
            decode: attempt(() => decode(setting, format, running())),
            prefill: attempt(() => {
                running();
                return prefill(setting, format);
            }),
        };
    }

    // The formats that share the largest value; null stands for none. `gain` is over the first format.
    function best(values) {
        const there = values.filter(value => value !== null);
        if (there.length === 0) return null;
        const value = Math.max(...there);
        const formats = [...values.keys()].filter(index => values[index] === value);
        return { formats, value, gain: values[0] === null ? null : value / values[0] };
    }

    // What a format runs out of.
    function whatBinds({ fit, decode: writing }, batch) {
        if (fit.refused === "no room" || (!fit.refused && Math.floor(fit) < batch)) return "room";
        return writing.refused ? null : writing.binds;
    }

    function outlook(setting, formats) {
        const predictions = formats.map(format => predict(setting, format));
        const bestOf = value => best(predictions.map(value));
        return {
            predictions,
            binds: whatBinds(predictions[0], setting.batch),
            room: bestOf(it => (it.decode.refused ? null : Math.floor(it.fit))),
            writing: bestOf(it => it.decode.tokensPerS ?? null),
            reading: bestOf(it => it.prefill.tokensPerS ?? null),
        };
    }

    Object.assign(course, { outlook });

    // --- the figure ---

    const count = number => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
    // Three significant digits, thousands set apart.
    const rate = value => course.sig3(value).replace(/^\d+/, count);
    const times = ratio => `${course.sig3(ratio)}x`;

    // The rows of the table: a name, a cell for a prediction, and who wins.
    const ROWS = [
        ["weights, GB", it => it.weightBytes, bytes => course.sig3(bytes / 1e9), () => null],
        ["KV blocks", it => it.blocks, count, () => null],
        ["requests that fit", it => it.fit, fit => count(Math.floor(fit)), out => out.room],
        ["writing, tokens/s", it => it.decode, step => rate(step.tokensPerS), out => out.writing],
        ["bound by", it => it.decode, step => step.binds, () => null],
        ["reading, tokens/s", it => it.prefill, step => rate(step.tokensPerS), out => out.reading],
        ["bound by", it => it.prefill, step => step.binds, () => null],
    ];

    course.widget("calculator", (data, { figure, controls, result, pictures }) => {
        const { formats, devices, models, contexts, batches, caches, plot } = data;
        const { element } = course;
        const state = {};
        const begin = () => {
            Object.assign(state, data.start);
            sheet(state.device);
        };
        // A data sheet sets memory and bandwidth, which the reader may change. The rates stay.
        function sheet(device) {
            const { memoryGb, terabytesPerS } = devices[device];
            Object.assign(state, { device, memoryGb, terabytesPerS });
        }
        begin();

        const setting = () => ({
            memoryGb: state.memoryGb,
            terabytesPerS: state.terabytesPerS,
            rates: devices[state.device].rates,
            model: models[state.model],
            kvBits: caches[state.cache][1],
            utilization: data.utilization,
            blockTokens: data.blockTokens,
            contextTokens: contexts[state.context],
            batch: batches[state.batch],
        });

        // --- the drawing ---

        // Rust drew the figure twice: once with its lines, and once without, to be drawn on.
        const [drawn, empty] = pictures;
        const live = empty.querySelector("svg");
        const lines = course.svg("g", { "aria-hidden": "true", fill: "none" });
        live.append(lines);
        drawn.before(empty);
        drawn.hidden = true;
        empty.hidden = false;

        const most = batches.at(-1);
        const across = batch => plot.from + Math.log2(batch) / Math.log2(most) * (plot.to - plot.from);
        const up = gain => plot.zero + Math.min(gain / plot.most, 1) * (plot.top - plot.zero);
        const steps = Array.from({ length: 41 }, (_, step) => Math.round(2 ** (step / 4)));

        function line(now, format, fit) {
            const at = batch => {
                const gain = decode(now, format, batch).tokensPerS / decode(now, formats[0], batch).tokensPerS;
                return [across(batch), up(gain)];
            };
            const room = fit.refused ? 0 : Math.floor(fit);
            const end = Math.min(Math.max(room, 1), most);
            const group = course.svg("g", { stroke: `var(${format.ink})` });
            const path = (inside, width) => {
                const points = [...new Set([...steps, end])].filter(inside).sort((a, b) => a - b).map(at);
                const d = points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
                const dash = format.dash === null ? {} : { "stroke-dasharray": format.dash };
                group.append(course.svg("path", { d, "stroke-width": width, ...dash }));
            };
            path(batch => batch >= end, 7);
            if (room > 0) path(batch => batch <= end, 24);
            const dot = ([cx, cy], more) => group.append(course.svg("circle", { cx, cy, ...more }));
            if (room > 0 && room < most) dot(at(end), { r: 60, fill: `var(${format.ink})`, stroke: "none" });
            dot(at(now.batch), { r: 92, "stroke-width": 34 });
            return group;
        }

        function draw(now, predictions) {
            const x = across(now.batch);
            const here = course.svg("path", { d: `M${x} ${plot.top}V${plot.zero}`, stroke: "var(--plot-muted)", "stroke-width": 18 });
            lines.replaceChildren(here);
            formats.forEach((format, index) => {
                // A format that the device or the model cannot have is no line.
                const made = attempt(() => line(now, format, predictions[index].fit));
                if (!made.refused) lines.append(made);
            });
        }

        // --- the words ---

        const named = ({ formats: winners }) => {
            const names = winners.map(index => formats[index].name);
            return names.join(", ").replace(/, (?=[^,]*$)/, " and ");
        };
        const over = ({ formats: winners, gain }) =>
            (gain === null || winners.includes(0) ? "" : `, ${times(gain)} bf16`);
        const bound = (best, which, predictions) => `bound by ${predictions[best.formats[0]][which].binds}`;

        function binding(now, { binds, predictions: [base] }) {
            if (base.fit.refused === "no room") return "bf16 does not start: its weights are more than the engine may take.";
            if (binds === "room") return `For bf16 room binds: ${count(Math.floor(base.fit))} of them fit.`;
            return binds === "bytes" ? "For bf16 bytes bind." : "For bf16 arithmetic binds.";
        }

        function sentence(now, out) {
            const { room, writing, reading, predictions } = out;
            const asked = `${models[state.model].name}, ${count(now.batch)} requests of ${count(now.contextTokens)} tokens `
                + `with a KV cache in ${caches[state.cache][0]}, rates of the ${devices[state.device].name}, `
                + `${now.memoryGb} GB, ${course.sig3(now.terabytesPerS)} TB/s.`;
            if (room === null) return `${asked} No format has room for one of them.`;
            return `${asked} ${binding(now, out)} `
                + `Most room: ${named(room)}, ${count(room.value)} requests${over(room)}. `
                + `Writes fastest: ${named(writing)}, at most ${rate(writing.value)} tokens/s${over(writing)}, ${bound(writing, "decode", predictions)}. `
                + `Reads fastest: ${named(reading)}, at most ${rate(reading.value)} tokens/s${over(reading)}, ${bound(reading, "prefill", predictions)}.`;
        }

        const head = element("tr", {}, element("td"), ...formats.map(format => element("th", { scope: "col" }, format.name)));
        const body = element("tbody");
        const table = element("table", { class: "readout" }, element("thead", {}, head), body);
        figure.querySelector("figcaption").before(table);

        function tell(out) {
            // Why a format has no number is said once, in the first row that lacks it.
            const told = new Set();
            const reason = (index, text) => {
                const key = `${index} ${text}`;
                return told.has(key) ? "-" : told.add(key) && text;
            };
            body.replaceChildren(...ROWS.map(([name, part, say, who]) => {
                const winners = who(out)?.formats ?? [];
                const cells = out.predictions.map((prediction, index) => {
                    const value = part(prediction);
                    if (value.refused) return element("td", { class: "refused" }, reason(index, value.text));
                    const text = say(value);
                    return element("td", {}, winners.includes(index) ? element("strong", {}, text) : text);
                });
                return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
            }));
        }

        function show() {
            const now = setting();
            const out = outlook(now, formats);
            draw(now, out.predictions);
            tell(out);
            result.textContent = sentence(now, out);
        }

        // --- controls ---

        const change = name => now => {
            state[name] = now;
            show();
        };
        const names = list => list.map(({ name }) => name);
        const menu = (label, name, values, turn = change(name)) => course.menu({ label, values, value: state[name], change: turn });
        const slider = (label, name, [min, max, by], say) =>
            course.slider({ label, min, max, step: by, value: state[name], say, change: change(name) });
        const indices = list => [0, list.length - 1, 1];
        const inputs = {
            device: menu("GPU", "device", names(devices), now => {
                sheet(now);
                inputs.memoryGb.set(state.memoryGb);
                inputs.terabytesPerS.set(state.terabytesPerS);
                show();
            }),
            model: menu("model", "model", names(models)),
            cache: course.choice({ label: "KV cache", values: caches.map(([name]) => name), value: state.cache, change: change("cache") }),
            memoryGb: slider("its memory, or yours", "memoryGb", data.memory, now => `${now} GB`),
            terabytesPerS: slider("its bandwidth, or yours", "terabytesPerS", data.bandwidth, now => `${course.sig3(now)} TB/s`),
            context: slider("tokens of a request", "context", indices(contexts), now => count(contexts[now])),
            batch: slider("requests at once", "batch", indices(batches), now => count(batches[now])),
        };
        const reset = () => {
            begin();
            for (const [name, input] of Object.entries(inputs)) input.set(state[name]);
            show();
        };
        controls.append(...Object.values(inputs).map(input => input.box), course.button("Reset", reset));

        // Dragging chooses the number of requests that is nearest.
        course.draggable(live, x => {
            const distance = index => Math.abs(across(batches[index]) - x);
            state.batch = [...batches.keys()].reduce((best, now) => (distance(now) < distance(best) ? now : best));
            inputs.batch.set(state.batch);
            show();
        });
        show();
    });
})();
