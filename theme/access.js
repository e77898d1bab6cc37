// What mdBook's markup lacks for readers who use the keyboard or listen. The page works without it.
(() => {
    "use strict";

    // Code, tables and formulas that are wider than the page scroll in their own box. Not every browser
    // lets the Tab key reach such a box, and without it the arrow keys cannot scroll it. A box that shows
    // all it holds stays out of the way of the Tab key.
    const boxes = document.querySelectorAll(".content pre > code, .content .table-wrapper, .content .katex-display");
    const admit = box => {
        if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
        else box.removeAttribute("tabindex");
    };
    const resized = new ResizeObserver(entries => entries.forEach(entry => admit(entry.target)));
    for (const box of boxes) resized.observe(box);
    // A face that arrives late widens what is inside, and no box.
    document.fonts.ready.then(() => boxes.forEach(admit));

    // The contents are opened by a hidden checkbox; what a reader sees is its label. mdBook says on the
    // label whether they are open, where no screen reader looks: it belongs to the checkbox.
    const checkbox = document.getElementById("mdbook-sidebar-toggle-anchor");
    const label = document.getElementById("mdbook-sidebar-toggle");
    if (!checkbox || !label) return;
    const hand = name => {
        const value = label.getAttribute(name);
        if (value === null) return;
        checkbox.setAttribute(name, value);
        label.removeAttribute(name);
    };
    ["aria-label", "aria-controls", "aria-expanded"].forEach(hand);
    const told = new MutationObserver(() => hand("aria-expanded"));
    told.observe(label, { attributeFilter: ["aria-expanded"] });
})();
