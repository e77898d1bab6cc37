// The grid and the scale: the one figure that computes. Its functions are those of labs 01, 03 and 05, and
// tests/tests/interactive.rs holds them to the Rust ones, code for code. All of a lab's arithmetic is in
// f32, so each operation here is rounded to f32.
(() => {
    "use strict";
    const { course } = window;
    const f32 = Math.fround;

    // --- arithmetic ---

    // To the nearest whole number, halves to the even one.
    function roundEven(value) {
        const below = Math.floor(value);
        const rest = value - below;
        if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
        return below % 2 === 0 ? below : below + 1;
    }

    const clip = (value, most) => Math.min(Math.max(value, -most), most);

    // The exponent in the bits of an f32.
    const words = new Uint32Array(1);
    const floats = new Float32Array(words.buffer);
    function exponent(value) {
        floats[0] = value;
        return ((words[0] >>> 23) & 0xff) - 127;
    }

    // To the nearest float with `bits` bits behind the point and no exponent below `least`.
    function toFloat(value, bits, least) {
        const unit = 2 ** (Math.max(exponent(value), least) - bits);
        return roundEven(value / unit) * unit;
    }

    // As half::f16: 65,520 and more are infinite.
    const f16 = value => (Math.abs(value) >= 65520 ? Math.sign(value) * Infinity : toFloat(value, 10, -14));

    const orOne = scale => (scale > 0 ? scale : 1);

    // A grid: its scale for a largest magnitude, its codes, and the code nearest to a number of steps.
    const grids = {
        int8: {
            name: "int8",
            scale: absmax => orOne(f32(absmax / 127)),
            nearest: steps => clip(roundEven(steps), 127),
            codes: Array.from({ length: 255 }, (_, index) => index - 127),
        },
        int4: {
            name: "int4",
            scale: absmax => orOne(f16(f32(absmax / 7))),
            nearest: steps => clip(roundEven(steps), 7),
            codes: Array.from({ length: 15 }, (_, index) => index - 7),
        },
        fp8: {
            name: "FP8 E4M3",
            scale: absmax => orOne(f32(absmax / 448)),
            nearest: steps => toFloat(clip(steps, 448), 3, -6),
        },
    };
    // All magnitudes of e4m3fn: eight steps of 2^-9, then eight for each power of two up to 448.
    const magnitudes = Array.from({ length: 127 }, (_, code) =>
        code < 8 ? code / 512 : (1 + (code & 7) / 8) * 2 ** ((code >> 3) - 7));
    grids.fp8.codes = [...magnitudes.slice(1).map(value => -value).reverse(), ...magnitudes];

    const largest = values => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

    // The rows on a grid and back, with a scale for each row or one for all.
    function roundTrip(grid, perRow, rows) {
        const { scale, nearest } = grids[grid];
        const shared = largest(rows.flat());
        const scales = rows.map(row => scale(perRow ? largest(row) : shared));
        const codes = rows.map((row, r) => row.map(value => nearest(f32(value / scales[r]))));
        const back = codes.map((row, r) => row.map(code => f32(code * scales[r])));
        return { scales, codes, back };
    }

    // The error of a row relative to its norm, as kit::meters.
    function relativeError(row, back) {
        const error = row.reduce((sum, value, index) => sum + (value - back[index]) ** 2, 0);
        return error === 0 ? 0 : Math.sqrt(error / row.reduce((sum, value) => sum + value * value, 0));
    }

    Object.assign(course, { roundTrip, relativeError });

    // --- the figure ---

    const GRIDS = ["int4", "int8", "fp8"];

    course.widget("grid", ({ rows, limit, zero, one, held, fontSize }, { controls, result, pictures }) => {
        const state = {};
        const begin = () => Object.assign(state, {
            weights: rows.map(row => row.weights.map(f32)),
            grid: 0,
            perRow: 0,
            row: 0,
            weight: held,
        });
        begin();

        // Rust drew the figure twice: once with its weights, and once without, to be drawn on.
        const [drawn, empty] = pictures;
        const live = empty.querySelector("svg");
        const lanes = course.svg("g", { "aria-hidden": "true" });
        live.append(lanes);
        drawn.before(empty);
        drawn.hidden = true;
        empty.hidden = false;

        const across = value => zero + value * (one - zero);
        const value = () => state.weights[state.row][state.weight];

        // --- drawing ---

        function lane(row, index, trip) {
            const group = course.svg("g");
            const [top, bottom] = [row.lines[0] - 100, row.lines.at(-1) + 100];
            const scale = trip.scales[index];
            const { codes } = grids[GRIDS[state.grid]];
            const ticks = codes
                .map(code => across(code * scale))
                .map(x => `M${x.toFixed(1)} ${top}V${bottom}`);
            group.append(
                course.svg("path", { d: ticks.join(""), stroke: "var(--plot-grid)", "stroke-width": codes.length > 15 ? 7 : 14, fill: "none" }),
                course.svg("path", { d: `M${zero} ${top}V${bottom}`, stroke: "var(--plot-muted)", "stroke-width": 14 }),
                course.svg("text", {
                    x: row.title[0], y: row.title[1], dy: "0.32em", "font-size": fontSize, fill: "var(--plot-ink)",
                    stroke: "var(--plot-bg)", "stroke-width": 40, "paint-order": "stroke",
                }, course.prose(`${row.name}: off by ${course.percent(relativeError(state.weights[index], trip.back[index]))}`)),
            );
            row.lines.forEach((y, weight) => {
                const [from, to] = [across(state.weights[index][weight]), across(trip.back[index][weight])];
                group.append(
                    course.svg("path", { d: `M${from} ${y}H${to}`, stroke: "var(--plot-2)", "stroke-width": 24 }),
                    course.svg("rect", { x: to - 52, y: y - 52, width: 104, height: 104, fill: "var(--plot-2)" }),
                    course.svg("circle", { cx: from, cy: y, r: 40, fill: "var(--plot-1)" }),
                );
                if (index === state.row && weight === state.weight) {
                    group.append(course.svg("circle", {
                        cx: from, cy: y, r: 98, fill: "none", stroke: "var(--plot-ink)", "stroke-width": 26,
                    }));
                }
            });
            return group;
        }

        function sentence(trip) {
            const { row, weight } = state;
            const [w, code, back, scale] =
                [value(), trip.codes[row][weight], trip.back[row][weight], trip.scales[row]];
            const zeros = trip.codes.flat().filter(code => code === 0).length;
            const errors = rows.map((_, index) => course.percent(relativeError(state.weights[index], trip.back[index])));
            return `${course.sig3(w)} divided by the scale ${course.sig3(scale)} is ${course.sig3(w / scale)}. The nearest code is `
                + `${code === 0 ? 0 : code}, which stands for ${course.sig3(back === 0 ? 0 : back)}: off by ${course.sig3(Math.abs(w - back))}. `
                + `The rows lose ${errors[0]}, ${errors[1]} and ${errors[2]}; ${zeros} of ${trip.codes.flat().length} weights become 0.`;
        }

        function show() {
            const trip = roundTrip(GRIDS[state.grid], state.perRow === 1, state.weights);
            lanes.replaceChildren(...rows.map((row, index) => lane(row, index, trip)));
            result.textContent = sentence(trip);
        }

        // --- controls ---

        const change = (name, input) => now => {
            state[name] = now;
            show();
        };
        const grid = course.choice({
            label: "grid", values: GRIDS.map(name => grids[name].name), value: 0, change: change("grid"),
        });
        const perRow = course.choice({
            label: "scales", values: ["one for all", "one per row"], value: 0, change: change("perRow"),
        });
        const names = rows.flatMap(row => row.weights.map((_, index) => `${row.name}: weight ${index + 1}`));
        const columns = rows[0].weights.length;
        const pick = (row, weight) => {
            Object.assign(state, { row, weight });
            menu.set(row * columns + weight);
            slider.set(value());
        };
        const menu = course.menu({
            label: "the weight you hold",
            values: names,
            value: held,
            change: now => {
                pick(Math.floor(now / columns), now % columns);
                show();
            },
        });
        const move = now => {
            state.weights[state.row][state.weight] = f32(Math.min(Math.max(now, -limit), limit));
            show();
        };
        const slider = course.slider({
            label: "its value", min: -limit, max: limit, step: 0.01, value: value(),
            say: () => course.sig3(value()), change: move,
        });
        const reset = () => {
            begin();
            grid.set(0);
            perRow.set(0);
            pick(0, held);
            show();
        };
        controls.append(grid.box, perRow.box, menu.box, slider.box, course.button("Reset", reset));

        // A pointer takes the weight that is nearest to it.
        course.draggable(live, (x, y, starts) => {
            if (starts) {
                const all = rows.flatMap((row, r) => row.lines.map((line, w) =>
                    [Math.hypot(across(state.weights[r][w]) - x, (line - y) * 2), r, w]));
                const [, row, weight] = all.reduce((best, now) => (now[0] < best[0] ? now : best));
                pick(row, weight);
                show();
                return;
            }
            move((x - zero) / (one - zero));
            slider.set(value());
        });

        show();
    });
})();
