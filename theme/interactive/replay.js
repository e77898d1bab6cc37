// Replays a table that the labs computed when the book was built: controls choose a step, the step says
// where on the drawing it is and what is to be read there. Nothing is computed here.
(() => {
    "use strict";
    const { course } = window;

    // What is drawn over a drawing: a line through it and a ring around each point.
    function cursor([top, bottom], inks) {
        const group = course.svg("g", { class: "cursor", "aria-hidden": "true" });
        const line = course.svg("line", { y1: top, y2: bottom, stroke: "var(--plot-muted)", "stroke-width": 18 });
        const rings = inks.map(ink =>
            course.svg("circle", { r: 92, fill: "none", stroke: `var(${ink})`, "stroke-width": 34 }));
        group.append(line, ...rings);
        const move = points => {
            group.style.display = points.length === 0 ? "none" : "";
            points.forEach(([x, y], index) => {
                line.setAttribute("x1", x);
                line.setAttribute("x2", x);
                rings[index].setAttribute("cx", x);
                rings[index].setAttribute("cy", y);
            });
        };
        return { group, move };
    }

    const fill = (sentence, numbers) => sentence.replace(/\{(\d+)\}/g, (_, gap) => numbers[gap]);

    course.widget("replay", ({ controls, sentence, inks, field, steps }, { controls: box, result, pictures }) => {
        const settings = controls.map(control => control.start);
        const lengths = controls.map(control => control.values.length);
        const indexOf = all => all.reduce((index, setting, which) => index * lengths[which] + setting, 0);
        const drawings = pictures.map(picture => picture.querySelector("svg"));
        const cursors = drawings.map(() => cursor(field, inks));

        const show = () => {
            const [shown, points, said] = steps[indexOf(settings)];
            pictures.forEach((picture, index) => { picture.hidden = index !== shown; });
            cursors[shown].move(points);
            result.textContent = course.prose(Array.isArray(said) ? fill(sentence, said) : said);
        };

        const inputs = controls.map(({ label, values, kind }, which) => {
            const change = now => {
                settings[which] = now;
                show();
            };
            const value = settings[which];
            const make = kind === "slider" ? course.slider : course.choice;
            return make({ label, values, value, max: values.length - 1, say: now => values[now], change });
        });
        const set = (which, now) => {
            settings[which] = now;
            inputs[which].set(now);
            show();
        };
        const reset = () => controls.forEach((control, which) => set(which, control.start));
        box.append(...inputs.map(input => input.box), course.button("Reset", reset));

        // Dragging on the drawing moves the slider, to the step whose line is nearest.
        const slid = controls.findIndex(control => control.kind === "slider");
        const distance = (now, x) => {
            const [, points] = steps[indexOf(settings.with(slid, now))];
            return points.length === 0 ? Infinity : Math.abs(points[0][0] - x);
        };
        drawings.forEach((drawing, index) => {
            drawing.append(cursors[index].group);
            course.draggable(drawing, x => {
                const all = [...controls[slid].values.keys()];
                set(slid, all.reduce((best, now) => (distance(now, x) < distance(best, x) ? now : best)));
            });
        });
        show();
    });
})();
