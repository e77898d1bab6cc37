// What axe-core finds in the page, as sentences: the serious and the critical. Evaluated in a page that
// has axe already.
async options => {
    const short = (text, length) => text.trim().replace(/\s+/g, " ").slice(0, length);

    // A rule that is broken everywhere says so at three elements.
    const SHOWN = 3;

    const sentence = ({ impact, id, help, nodes }) => {
        const elements = nodes.slice(0, SHOWN).map(({ target, html, failureSummary }) => {
            const [, ...causes] = failureSummary.split("\n");
            return `\n    ${target.flat().join(" ")}  ${short(html, 100)}\n        ${short(causes.join("; "), 240)}`;
        });
        const more = nodes.length > SHOWN ? `\n    and ${nodes.length - SHOWN} more` : "";
        return `${impact}: ${id}: ${help}${elements.join("")}${more}`;
    };

    // Formulas are there twice: what is drawn, with hundreds of boxes over each other, is hidden from
    // whoever listens. All that axe could ask about it is its colours, and `audit.contrast` does.
    const context = { exclude: [".katex-html"] };

    // A hint that is folded away must be as sound as the rest. The page has a frame's time to notice.
    for (const hint of document.querySelectorAll("details")) hint.open = true;
    await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
    const { violations } = await axe.run(context, { resultTypes: ["violations"], iframes: false, ...options });
    return violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(sentence);
}
