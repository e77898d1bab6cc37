// What a reader would find in the interactive figures of a page. Each question answers with sentences; an
// empty list is a pass. Evaluated in the page, so it must leave nothing behind but the name `figures`.
var figures = (() => {
    const all = (css, within = document) => [...within.querySelectorAll(css)];

    // Chromium calls a part of a drawing visible that is not displayed.
    const isShown = element => element.checkVisibility() && getComputedStyle(element).display !== "none";
    const shown = (css, within) => all(css, within).filter(isShown);

    // Asks `question(figure, find)` of every figure and collects what it finds.
    function ask(question) {
        const findings = [];
        for (const figure of all("figure.interactive")) question(figure, what => findings.push(`${figure.id} ${what}`));
        return findings;
    }

    // As Rust wrote it: one drawing, the question, the caption, and nothing that needs a script.
    const asDrawn = () => ask((figure, find) => {
        const drawings = shown("svg", figure);
        const first = figure.querySelector(".picture.drawn") ?? figure.querySelector(".picture");
        if (drawings.length !== 1) find(`shows ${drawings.length} drawings`);
        else if (drawings[0].getBoundingClientRect().width < 100) find("has no visible drawing");
        else if (drawings[0].closest(".picture") !== first) find("shows another drawing than the first");
        if (shown("figcaption", figure).length !== 1) find("shows no caption");
        if (!shown(".predict", figure)[0]?.textContent.includes("?")) find("asks nothing");
        if (shown("input, select, button, output, .then, .cursor", figure).length > 0) find("shows what needs a script");
    });

    // Chooses the last of each choice, which may be another drawing.
    const chooseLast = () => ask(figure => {
        for (const set of all("fieldset", figure)) all("input", set).at(-1).click();
    });

    // Brought to life, with a label, a visible focus and a fair size for everything that is touched.
    const controls = () => ask((figure, find) => {
        if (!figure.classList.contains("live")) find("was not brought to life");
        if (shown(".then", figure).length !== 1) find("does not say what to do");
        const result = shown("output", figure)[0];
        if (!result?.textContent.trim()) find("says nothing");
        if (result?.getAttribute("aria-live") !== "polite") find("is silent for a screen reader");
        if (shown("input[type=range]", figure).length === 0) find("has no slider");
        for (const input of shown("input, select, button", figure)) {
            const label = (input.labels?.[0]?.textContent || input.textContent).trim();
            if (!label) find("has a control without a label");
            if (input.type === "range" && !input.getAttribute("aria-valuetext")) find("has a slider without words");
            input.focus({ focusVisible: true, preventScroll: true });
            const { outlineStyle, outlineWidth } = getComputedStyle(input);
            if (outlineStyle === "none" || parseFloat(outlineWidth) < 1) find(`hides the focus of ${label}`);
            const arrow = new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, cancelable: true });
            if (!input.dispatchEvent(arrow)) find(`lets an arrow key turn the page at ${label}`);
            if (input.getBoundingClientRect().height < 12) find(`has a tiny control: ${label}`);
        }
    });

    // Every setting of a replay: a sentence of its own, and a place on the drawing for nearly all.
    const settings = () => ask((figure, find) => {
        if (figure.dataset.widget !== "replay") return;
        const sets = all("fieldset", figure).map(set => all("input", set));
        const choices = sets.reduce((some, set) => some.flatMap(one => set.map(input => [...one, input])), [[]]);
        const slider = figure.querySelector("input[type=range]");
        const sentences = new Set();
        let places = 0;
        for (const chosen of choices) {
            chosen.forEach(input => input.click());
            for (let now = 0; now <= Number(slider.max); now++) {
                slider.value = now;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                const sentence = figure.querySelector("output").textContent;
                sentences.add(sentence);
                const whole = sentence.endsWith(".") && !/undefined|NaN|null|[{}]/.test(sentence);
                if (!whole) find(`says ${sentence}`);
                const cursor = shown(".cursor", figure)[0];
                if (!cursor) continue;
                places++;
                const ring = cursor.querySelector("circle").getBoundingClientRect();
                const drawing = cursor.closest("svg").getBoundingClientRect();
                const inside = ring.left > drawing.left && ring.right < drawing.right + 1
                    && ring.top > drawing.top && ring.bottom < drawing.bottom;
                if (!inside) find(`points off the drawing: ${sentence}`);
            }
        }
        const count = choices.length * (Number(slider.max) + 1);
        if (sentences.size !== count) find(`has ${sentences.size} sentences for ${count} settings`);
        if (places < count * 0.8) find(`has a place for ${places} of ${count} settings only`);
    });

    // --- one figure, by its id ---

    const of = id => document.getElementById(id);
    const ids = () => all("figure.interactive").map(figure => figure.id);
    const said = id => of(id).querySelector("output").textContent;
    const isWithin = id => of(id).contains(document.activeElement);
    const stops = id => all("fieldset, input[type=range], select, button", of(id)).length;
    const focusFirst = id => of(id).querySelector("input:checked, input[type=range], select").focus();
    const focusReset = id => of(id).querySelector("button").focus({ focusVisible: true });
    const choose = (id, set, option) => all("input", all("fieldset", of(id))[set])[option].click();
    const data = id => JSON.parse(of(id).querySelector("script").textContent);

    // What arrow keys move: the sliders and the chosen of each choice.
    const movable = id => all("input[type=range], input:checked", of(id));
    const movables = id => movable(id).length;
    const focus = (id, index) => movable(id)[index].focus({ focusVisible: true });

    // The drawing that is shown, moved into the window: from left to right, and its middle.
    function place(id) {
        const drawing = shown("svg", of(id))[0];
        drawing.scrollIntoView({ block: "center", behavior: "instant" });
        const { left, top, width, height } = drawing.getBoundingClientRect();
        return [left + 0.3 * width, left + 0.8 * width, top + 0.5 * height];
    }

    return {
        asDrawn, chooseLast, controls, settings,
        ids, said, isWithin, stops, focusFirst, focusReset, choose, data, movables, focus, place,
    };
})();
