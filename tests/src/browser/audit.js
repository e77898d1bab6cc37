// What a reader would see, asked of the page itself. Each question answers with sentences; an empty
// list is a pass. Evaluated in the page, so it must leave nothing behind but the name `audit`.
var audit = (() => {
    const all = (css, within = document) => [...within.querySelectorAll(css)];
    const short = text => text.trim().replace(/\s+/g, " ").slice(0, 60);

    // Where an element is, for a sentence.
    const name = element => {
        const classes = [...element.classList].slice(0, 2).map(c => "." + c).join("");
        return `<${element.localName}${classes}> «${short(element.textContent)}»`;
    };

    const isShown = element => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

    // Copies for screen readers are clipped to nothing on purpose.
    const isForScreenReaders = element => element.closest(".katex-mathml") !== null;

    // --- layout ---

    const scrollsSideways = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);

    const scrollsInside = element => {
        for (let box = element.parentElement; box && box !== document.body; box = box.parentElement) {
            if (scrollsSideways(box)) return true;
        }
        return false;
    };

    // Elements that stick out of the page. `body` hides its overflow, so its scroll width says nothing.
    function overflow() {
        const width = document.documentElement.clientWidth;
        const sticksOut = element => {
            // KaTeX draws roots and braces far too long and cuts them off.
            if (element.closest(".katex") && !element.matches(".base")) return false;
            const box = element.getBoundingClientRect();
            return box.width > 0 && (box.right > width + 1 || box.left < -1);
        };
        const outside = all("main, main *").filter(element =>
            sticksOut(element) && isShown(element) && !isForScreenReaders(element) && !scrollsInside(element));
        const outermost = outside.filter(element => !outside.includes(element.parentElement));
        return outermost.map(element => {
            const box = element.getBoundingClientRect();
            return `overflow: ${name(element)} reaches from ${Math.round(box.left)} to ${Math.round(box.right)} px`;
        });
    }

    // A formula fits by its lines at every width, and a table of three columns fits on a phone by its narrow
    // form. A wider table and code may scroll, and so may names of files in a table.
    function scrolling() {
        const phone = innerWidth < 600;
        const fits = box => box.matches(".katex-display") || (phone && all("thead th", box).length <= 3);
        const wide = all(".katex-display, .table-wrapper").filter(box =>
            box.scrollWidth > box.clientWidth && fits(box));
        return wide.map(box =>
            `scrolls: ${name(box)} needs ${box.scrollWidth} px and has ${box.clientWidth}`);
    }

    function figures() {
        const findings = [];
        for (const figure of all("figure.plot")) {
            const caption = short(figure.querySelector("figcaption")?.textContent ?? "");
            const svg = figure.querySelector("svg");
            const box = svg?.getBoundingClientRect();
            const marks = svg ? all("path, line, polyline, polygon, rect, circle", svg) : [];
            if (!svg || box.width < 100 || box.height < 40) {
                findings.push(`figure: «${caption}» has no visible drawing`);
            } else if (!marks.some(mark => mark.getBBox().width + mark.getBBox().height > 0)) {
                findings.push(`figure: «${caption}» is empty`);
            }
            for (const text of svg ? all("text", svg) : []) {
                const own = text.getBoundingClientRect();
                const cut = own.left < box.left - 1 || own.right > box.right + 1
                    || own.top < box.top - 1 || own.bottom > box.bottom + 1;
                if (cut) findings.push(`figure: «${short(text.textContent)}» is cut off at the edge`);
                const size = parseFloat(getComputedStyle(text).fontSize) * svg.getScreenCTM().a;
                if (size < 9) findings.push(`figure: «${short(text.textContent)}» is ${size.toFixed(1)} px high`);
            }
        }
        for (const image of all("main img")) {
            if (!image.complete || image.naturalWidth === 0) findings.push(`image: ${image.src} is not shown`);
        }
        return findings;
    }

    function mathematics() {
        const findings = all("main .katex-error").map(error => `math: KaTeX refused «${short(error.textContent)}»`);
        const tex = /\$\$|\\[([]|\\[a-zA-Z]{3,}/;
        for (const node of texts(document.querySelector("main"))) {
            const typed = node.parentElement.closest("code, pre, kbd, .katex, svg") === null;
            if (typed && tex.test(node.data)) findings.push(`math: left as it was typed «${short(node.data)}»`);
        }
        for (const formula of all("main .katex-html").filter(isShown)) {
            const box = formula.getBoundingClientRect();
            if (box.width === 0 || box.height === 0) findings.push(`math: ${name(formula)} has no size`);
        }
        return findings;
    }

    const loadedFamilies = () => new Set([...document.fonts]
        .filter(face => face.status === "loaded")
        .map(face => face.family.replaceAll('"', "")));

    const fontsNotLoaded = families => families.filter(family => !loadedFamilies().has(family));

    function fonts() {
        const findings = [...document.fonts]
            .filter(face => face.status === "error")
            .map(face => `font: ${face.family} did not load`);
        const loaded = [...loadedFamilies()];
        if (document.querySelector(".katex") && !loaded.some(family => family.startsWith("KaTeX_"))) {
            findings.push("font: there is mathematics and none of KaTeX's fonts");
        }
        return findings;
    }

    function copyButtons() {
        const bare = all("main pre > code").filter(code => !code.parentElement.querySelector(".clip-button"));
        return bare.map(code => `copy button: none at ${name(code)}`);
    }

    // One of each kind of thing that the keyboard reaches must show that it is there.
    function focus() {
        const kinds = ["main p a[href]", "main .header", "#mdbook-menu-bar button", ".clip-button", "#mdbook-sidebar a[href]",
            "main pre > code[tabindex]", "main .table-wrapper[tabindex]", "main .katex-display[tabindex]"];
        const findings = [];
        for (const kind of kinds) {
            const element = all(kind).find(isShown);
            if (!element) continue;
            element.focus({ focusVisible: true, preventScroll: true });
            const style = getComputedStyle(element);
            const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
            if (!outlined && style.boxShadow === "none") findings.push(`focus: not visible on ${kind}`);
            element.blur();
        }
        return findings;
    }

    // Hints are folded away, and must be as sound as the rest. What is in them asks for its fonts
    // when it is first shown.
    async function unfold() {
        for (const hint of all("details")) hint.open = true;
        await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
        await document.fonts.ready;
    }

    async function layout() {
        await unfold();
        return [...overflow(), ...scrolling(), ...figures(), ...mathematics(), ...fonts(), ...copyButtons(), ...focus()];
    }

    // --- contrast ---

    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const known = new Map();

    // Any CSS colour as red, green, blue (0 to 255) and alpha (0 to 1).
    function rgba(color) {
        if (!known.has(color)) {
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = color;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
            known.set(color, [r, g, b, a / 255]);
        }
        return known.get(color);
    }

    const over = (top, bottom) => {
        const alpha = top[3];
        return [0, 1, 2].map(i => top[i] * alpha + bottom[i] * (1 - alpha)).concat(1);
    };

    // The colour behind an element: its own background and those of what it lies in, down to paper.
    function ground(element) {
        const layers = [];
        for (let box = element; box; box = box.parentElement) {
            const color = rgba(getComputedStyle(box).backgroundColor);
            if (color[3] > 0) layers.push(color);
            if (color[3] === 1) break;
        }
        return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
    }

    function luminance(color) {
        const [r, g, b] = color.slice(0, 3).map(value => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }

    function ratio(one, other) {
        const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05);
    }

    function opacity(element) {
        let product = 1;
        for (let box = element; box; box = box.parentElement) product *= parseFloat(getComputedStyle(box).opacity);
        return product;
    }

    // Large text, by WCAG: 24 px, or 18.66 px in bold. Text in a drawing is never taken for large.
    function needed(element, style) {
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
        return large && !element.closest("svg") ? 3 : 4.5;
    }

    function texts(root) {
        const nodes = [];
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const node = walker.currentNode;
            if (node.data.trim() && !node.parentElement.closest("script, style, template, noscript, title, desc")) {
                nodes.push(node);
            }
        }
        return nodes;
    }

    function contrast() {
        const findings = new Set();
        const parents = new Set(texts(document.body).map(node => node.parentElement));
        for (const element of parents) {
            if (!isShown(element) || isForScreenReaders(element)) continue;
            const style = getComputedStyle(element);
            const paint = rgba(element.closest("svg") ? style.fill : style.color);
            const below = ground(element);
            const ink = over([...paint.slice(0, 3), paint[3] * opacity(element)], below);
            const found = ratio(ink, below);
            if (found < needed(element, style)) {
                findings.add(`contrast: ${found.toFixed(2)} to 1 at ${name(element)}`);
            }
        }
        return [...findings];
    }

    return { layout, contrast, fontsNotLoaded };
})();
