// What the interactive figures share. A figure is what Rust wrote: a question, one or more drawings, a
// caption, and a table as JSON. A widget brings every figure with its name to life.
//
// `window.course` is the one name that the book puts on the page: `course.widget` adds a widget, the rest
// of it is for widgets and for the browser tests, which hold each function that computes to the Rust one.
window.course = (() => {
    "use strict";

    // The page for the printer stays as it was drawn.
    const onPaper = /\/print(\.html)?$/.test(location.pathname);

    let ids = 0;

    // --- elements ---

    // An element with attributes and children; a string is a child as text.
    function element(tag, attributes = {}, ...children) {
        const made = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
        made.append(...children);
        return made;
    }

    function svg(tag, attributes = {}, text = "") {
        const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
        for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
        made.textContent = text;
        return made;
    }

    // --- numbers, written as kit::table writes them ---

    // Three significant digits: 0.00653, 12.3, 1230.
    function sig3(value) {
        if (value === 0) return "0";
        if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value < 0 ? "-inf" : "inf";
        const [digits, exponent] = value.toExponential(2).split("e").map(Number);
        const rounded = Number(`${digits}e${exponent}`);
        return rounded.toFixed(Math.min(100, Math.max(0, 2 - exponent)));
    }

    // A fraction as a percentage. The space does not break.
    const percent = fraction => `${sig3(fraction * 100)}\u00a0%`;

    // A sentence for the page: a number and its unit stay on one line.
    const prose = text => text.replace(/ (%|dB)/g, "\u00a0$1");

    // --- controls ---

    // Each is a native input in a box with its label, calls `change` when the reader moves it, and is moved
    // by `set`, which calls nothing. A slider puts its setting in words with `say`.
    function slider({ label, min = 0, max, step = 1, value, say, change }) {
        const id = `course-${++ids}`;
        const shown = element("span", { class: "setting" });
        const input = element("input", { type: "range", id, min, max, step });
        const box = element("div", { class: "control" }, element("label", { for: id }, label, ": ", shown), input);
        const tell = now => {
            shown.textContent = say(now);
            input.setAttribute("aria-valuetext", say(now));
        };
        const set = now => {
            input.value = now;
            tell(now);
        };
        input.addEventListener("input", () => {
            change(Number(input.value));
            tell(Number(input.value));
        });
        set(value);
        return { box, set };
    }

    // One of a few.
    function choice({ label, values, value, change }) {
        const name = `course-${++ids}`;
        const inputs = values.map((_, index) => element("input", { type: "radio", name, value: index }));
        const options = values.map((text, index) => element("label", {}, inputs[index], element("span", {}, text)));
        const box = element("fieldset", { class: "control" }, element("legend", {}, label), ...options);
        const set = now => inputs.forEach((input, index) => { input.checked = index === now; });
        inputs.forEach((input, index) => input.addEventListener("change", () => change(index)));
        set(value);
        return { box, set };
    }

    // One of many.
    function menu({ label, values, value, change }) {
        const id = `course-${++ids}`;
        const options = values.map((text, index) => element("option", { value: index }, text));
        const select = element("select", { id }, ...options);
        const box = element("div", { class: "control" }, element("label", { for: id }, label), select);
        const set = now => { select.value = now; };
        select.addEventListener("change", () => change(Number(select.value)));
        set(value);
        return { box, set };
    }

    function button(label, press) {
        const made = element("button", { type: "button", class: "press" }, label);
        made.addEventListener("click", press);
        return made;
    }

    // --- dragging ---

    // Calls `to(x, y, starts)` with canvas coordinates while a pointer is down on the drawing.
    function draggable(drawing, to) {
        const place = event => new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
        const tell = (event, starts) => {
            const { x, y } = place(event);
            to(x, y, starts);
        };
        drawing.classList.add("draggable");
        drawing.addEventListener("pointerdown", event => {
            if (event.button !== 0) return;
            drawing.setPointerCapture(event.pointerId);
            event.preventDefault();
            tell(event, true);
        });
        drawing.addEventListener("pointermove", event => {
            if (drawing.hasPointerCapture(event.pointerId)) tell(event, false);
        });
    }

    // mdBook turns the page on an arrow key and opens its sidebar on a swipe: not from within a figure.
    function keepFromTheBook(box) {
        box.addEventListener("keydown", event => {
            if (event.key.startsWith("Arrow")) event.stopPropagation();
        });
        box.addEventListener("touchstart", event => event.stopPropagation(), { passive: true });
    }

    // --- widgets ---

    // What a widget is given of its figure.
    function partsOf(figure) {
        const controls = element("div", { class: "controls" });
        const result = element("output", { class: "result", "aria-live": "polite" });
        const pictures = [...figure.querySelectorAll(".picture")];
        // The one to print, whatever is shown then.
        pictures[0].classList.add("drawn");
        return { figure, controls, result, pictures };
    }

    // Brings every figure of the page that asks for this widget to life. `mount(data, parts)` fills
    // `parts.controls` and writes into `parts.result`; if it throws, the figure stays as it was drawn.
    function widget(name, mount) {
        if (onPaper) return;
        for (const figure of document.querySelectorAll(`figure.interactive[data-widget="${name}"]`)) {
            try {
                const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
                const parts = partsOf(figure);
                mount(data, parts);
                [parts.controls, ...parts.pictures].forEach(keepFromTheBook);
                figure.querySelector(".picture").before(parts.controls);
                figure.querySelector("figcaption").before(parts.result);
                for (const then of figure.querySelectorAll(".then")) then.hidden = false;
                figure.classList.add("live");
            } catch (error) {
                console.error(`the interactive figure ${figure.id} stays as it was drawn:`, error);
            }
        }
    }

    return { widget, element, svg, slider, choice, menu, button, draggable, sig3, percent, prose };
})();
