// The card reader: any card string as the three answers. It interprets the grammar that Rust exported
// (kit::card::export), word by word as kit::card does, and tests/tests/card_reader.rs holds the two to each
// other. The words and what they mean are in the grammar; here is only how a text is read.
(() => {
    "use strict";
    const { course } = window;

    // Places in the list of fields: kit::card::Field, in its order.
    const [LAYOUT, WEIGHT_BITS, WEIGHT_KIND, GROUP, SYMMETRIC, ACT_BITS, ACT_KIND, ACT_WHEN, ACT_GROUP, KV, ORDER,
        METHOD, MEAN, BESIDE, SCALE_BITS, ZERO_BITS, REST] = Array(17).keys();

    class Refusal extends Error {}

    // ---- atoms

    const isDigit = character => character !== undefined && character >= "0" && character <= "9";
    const isSpace = character => " \t\n\r\f".includes(character);
    const isBetween = character => isSpace(character) || ",;/:@()[]{}=-_\"'`+|&".includes(character);
    const lower = text => text.replace(/[A-Z]/g, letter => letter.toLowerCase());

    function separates(text, at) {
        const character = text[at];
        if (character === ".") return !(isDigit(text[at - 1]) && isDigit(text[at + 1]));
        if (character === "-" && text[at + 1] === "1" && !isDigit(text[at + 2])) {
            return at > 0 && !isBetween(text[at - 1]);
        }
        return isBetween(character);
    }

    function atomsOf(text) {
        const atoms = [];
        let [chunk, start] = [0, null];
        for (let at = 0; at <= text.length; at++) {
            const ends = at === text.length || separates(text, at);
            if (start === null && !ends) start = at;
            else if (start !== null && ends) {
                const before = atoms.length > 0 ? atoms.at(-1).end : 0;
                const tied = atoms.length > 0 && start - before === 1 && text[before] === "_";
                atoms.push({ text: lower(text.slice(start, at).join("")), start, end: at, chunk, tied });
                start = null;
            }
            if (at < text.length && isSpace(text[at])) chunk++;
        }
        return atoms;
    }

    // The numbers in `atom`, if one piece of a pattern fits it.
    function readAtom(pattern, atom) {
        const numbers = [];
        let rest = atom;
        for (let at = 0; at < pattern.length; at++) {
            if (pattern[at] !== "{") {
                if (rest[0] !== pattern[at]) return null;
                rest = rest.slice(1);
                continue;
            }
            const place = pattern[at + 1];
            at += 2;
            const number = place === "g" && rest.startsWith("-1")
                ? "-1"
                : rest.match("dp".includes(place) ? /^[0-9.]*/ : /^[0-9]*/)[0];
            if (number.length < 1 || number.length > 6) return null;
            numbers.push([place, number]);
            rest = rest.slice(number.length);
        }
        return rest === "" ? numbers : null;
    }

    // ---- words

    const pairs = (list, texts) => Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i], texts[list[2 * i + 1]]]);

    // The exported grammar, with its texts in place.
    function grammarOf({ labels, words, texts, families, examples, longest }) {
        const unpacked = words.map(([pattern, name, says, usual, open, note, needs, flags]) => ({
            pieces: pattern.split(" "),
            name,
            says: pairs(says, texts),
            usual: pairs(usual, texts),
            open: pairs(open, texts),
            note: texts[note],
            needs: texts[needs],
            cardOnly: (flags & 1) !== 0,
            onePiece: (flags & 2) !== 0,
            computes: (flags & 4) !== 0,
        }));
        return { labels, words: unpacked, families, examples, longest };
    }

    function fits(word, atoms) {
        const numbers = [];
        for (const [index, piece] of word.pieces.entries()) {
            const found = index < atoms.length ? readAtom(piece, atoms[index].text) : null;
            if (found === null) return null;
            numbers.push(...found);
        }
        const onePiece = atoms[0].chunk === atoms[word.pieces.length - 1].chunk;
        return onePiece || !word.onePiece ? numbers : null;
    }

    function longestWord(grammar, atoms, named) {
        let best = null;
        for (const word of grammar.words) {
            if ((named && word.cardOnly) || (best !== null && word.pieces.length <= best.length)) continue;
            const numbers = fits(word, atoms);
            if (numbers !== null) best = { word, length: word.pieces.length, numbers };
        }
        return best;
    }

    // A piece of the text between spaces that is a model's name: it has a slash, a family, a size.
    function isName(grammar, text, atoms, chunk) {
        const own = atoms.filter(atom => atom.chunk === chunk);
        const isFamily = atom => grammar.families.some(family =>
            atom.text.startsWith(family) && /^[0-9.]*$/.test(atom.text.slice(family.length)));
        return text.slice(own[0].start, own.at(-1).end).includes("/")
            || own.some(atom => isFamily(atom) || readAtom("{p}b", atom.text) !== null);
    }

    const bare = text => Array.from(lower(text).replace(/[^a-z0-9]/g, ""));

    function levenshtein(a, b) {
        let row = Array.from({ length: b.length + 1 }, (_, index) => index);
        for (const [i, left] of a.entries()) {
            const next = [i + 1];
            for (const [j, right] of b.entries()) {
                next.push(Math.min(row[j + 1] + 1, next[j] + 1, row[j] + (left === right ? 0 : 1)));
            }
            row = next;
        }
        return row.at(-1);
    }

    function hint(grammar, pieces) {
        const near = [];
        for (const [index, { name }] of grammar.words.entries()) {
            const distances = pieces.map(bare).filter(piece => piece.length > 2)
                .map(piece => [levenshtein(piece, bare(name)), Math.ceil(Math.max(piece.length, 2) / 3)])
                .filter(([distance, most]) => distance <= most)
                .map(([distance]) => distance);
            if (distances.length > 0) near.push([Math.min(...distances), index]);
        }
        near.sort(([a, i], [b, j]) => a - b || i - j);
        const names = [...new Set(near.map(([, index]) => grammar.words[index].name))].slice(0, 3);
        return names.length === 0 ? grammar.examples : `near it: ${names.join(", ")}`;
    }

    function findWords(grammar, given) {
        const text = Array.from(given);
        if (text.length > grammar.longest) {
            throw new Refusal(`longer than ${grammar.longest} characters: no card is; a config starts with a brace`);
        }
        const atoms = atomsOf(text);
        if (atoms.length === 0) {
            throw new Refusal("there is no card to read: give one, such as `W4A16 group_size=128`");
        }
        const spelled = (from, to) => text.slice(from.start, to.end).join("");
        const [found, unread] = [[], []];
        let [last, scheme] = [{ start: 0, end: 0 }, null];
        for (let at = 0; at < atoms.length;) {
            const named = isName(grammar, text, atoms, atoms[at].chunk);
            const best = longestWord(grammar, atoms.slice(at), named);
            if (best !== null) {
                const { word, length, numbers } = best;
                const as = spelled(atoms[at], atoms[at + length - 1]);
                if (word.needs !== "") throw new Refusal(`\`${as}\` needs ${word.needs}`);
                found.push({ word, spelled: as, numbers });
                if (word.says.length > 0) [last, scheme] = [{ start: at, end: at + length }, atoms[at + length - 1]];
                at += length;
                continue;
            }
            // Only the types of GGUF have names of several parts.
            const isType = found.length > 0
                && found.at(-1).word.says.some(([field, value]) => field === METHOD && value === "GGUF");
            const tied = atoms[at].tied && last.end === at && isType;
            if (tied || !named) {
                const word = spelled(atoms[tied ? last.start : at], atoms[at]);
                throw new Refusal(`\`${word}\` is not known; ${hint(grammar, [word])}`);
            }
            // The name of an owner is no part of the scheme.
            const rest = scheme === null ? [] : text.slice(scheme.end);
            const end = rest.findIndex(isSpace);
            const follows = scheme !== null && scheme.chunk === atoms[at].chunk
                && !rest.slice(0, end < 0 ? rest.length : end).includes("/");
            if (follows) unread.push(`\`${spelled(atoms[at], atoms[at])}\``);
            at++;
        }
        if (found.every(({ word }) => word.says.length === 0 && word.open.length === 0)) {
            const pieces = hint(grammar, atoms.map(atom => atom.text));
            throw new Refusal(`no word of \`${given}\` states a scheme; ${pieces}`);
        }
        return { found, unread: unread.length === 0 ? [] : [`not read: ${unread.join(", ")}`] };
    }

    // ---- facts

    // The words without the types to compute in, where another word names the bits of the weights.
    function setApart(found) {
        const quantizes = ({ word }) => !word.computes
            && [...word.says, ...word.usual].some(([field]) => [WEIGHT_BITS, MEAN, LAYOUT].includes(field));
        if (!found.some(quantizes)) return { scheme: found, apart: [] };
        const apart = found.filter(({ word }) => word.computes).map(({ spelled }) =>
            `\`${spelled}\`: what layers compute in, or what is not quantized, beside the scheme`);
        return { scheme: found.filter(({ word }) => !word.computes), apart };
    }

    function fill(value, numbers) {
        for (const [place, number] of numbers) {
            const said = number === "-1" ? "channel" : number.replace(/^0+(?=[0-9])/, "");
            value = value.replaceAll(`{${place}}`, said);
        }
        return value;
    }

    function contradiction(grammar, field, first, firstSays, second, secondSays) {
        return new Refusal(`\`${first}\` and \`${second}\` contradict each other: ${grammar.labels[field]} `
            + `${firstSays} against ${secondSays}`);
    }

    function gather(grammar, found) {
        const known = Array(17).fill(null);
        for (const field of known.keys()) {
            for (const { word, spelled, numbers } of found) {
                for (const [, template] of word.says.filter(([said]) => said === field)) {
                    const value = fill(template, numbers);
                    const before = known[field];
                    if (before !== null && before.value !== value) {
                        throw contradiction(grammar, field, before.by, before.value, spelled, value);
                    }
                    known[field] ??= { value, by: spelled, usual: false };
                }
            }
        }
        for (const { word, spelled, numbers } of found) {
            for (const [field, template] of word.usual) {
                known[field] ??= { value: fill(template, numbers), by: spelled, usual: true };
            }
        }
        return known;
    }

    const valueOf = (known, field) => (known[field] === null ? null : known[field].value);
    const isWhole = text => text !== null && /^[0-9]+$/.test(text);
    const isPlain = bits => bits === "16" || bits === "32";
    const isFloat = kind => ["float", "e5m2", "e2m3", "e3m2"].includes(kind);
    const isStated = (known, field) => known[field] !== null && !known[field].usual;

    // ---- what no scheme can be

    function complete(grammar, known) {
        const value = field => valueOf(known, field);
        const refuse = (field, problem) => new Refusal(`\`${known[field].by}\`: ${problem}`);
        const oneOf = (field, list, problem) => {
            const said = value(field);
            if (said !== null && said !== "w" && !list.includes(Number(said))) throw refuse(field, problem);
        };
        oneOf(WEIGHT_BITS, [1, 2, 3, 4, 5, 6, 7, 8, 16, 32],
            "bits of a weight are 1 to 8, or 16; 32 where nothing is quantized");
        oneOf(ACT_BITS, [4, 6, 8, 16, 32], "bits of an activation are 4, 6, 8 or 16");
        oneOf(SCALE_BITS, [8, 16, 32], "a scale has 8, 16 or 32 bits");
        oneOf(ZERO_BITS, [0, 1, 2, 3, 4, 5, 6, 7, 8, 16], "a zero point has up to 8 bits, or 16; 0 is none");
        for (const field of [GROUP, ACT_GROUP]) {
            const said = value(field);
            if (said === null || ["tensor", "channel", "token"].includes(said)) continue;
            if (said.includes("x")) {
                const isSide = side => isWhole(side) && Number(side) >= 1 && Number(side) <= 1024;
                if (!said.split("x").every(isSide)) throw refuse(field, "the sides of a block are 1 to 1024 weights");
            } else if (!(Number(said) >= 8 && Number(said) <= 16384 && Number(said) % 8 === 0)) {
                throw refuse(field,
                    "a group has 8, 16, 24 or another multiple of 8 weights, up to 16384, or -1: the whole row");
            }
        }
        const kv = value(KV);
        if (kv !== null && kv.startsWith("int") && isWhole(kv.slice(3)) && ![4, 8, 16].includes(Number(kv.slice(3)))) {
            throw refuse(KV, "keys and values are kept in 4, 8 or 16 bits");
        }
        const mean = value(MEAN);
        if (mean !== null && !(Number(mean) >= 1 && Number(mean) <= 16)) {
            throw refuse(MEAN, "mean bits of a weight are between 1 and 16");
        }
        suppose(known);
        for (const [kind, bits, list] of [[WEIGHT_KIND, WEIGHT_BITS, [4, 6, 8, 16, 32]],
            [ACT_KIND, ACT_BITS, [4, 6, 8, 16, 32]]]) {
            const number = value(bits);
            if (value(kind) === "float" && number !== null && !list.includes(Number(number))) {
                throw refuse(bits, `no float of ${number} bits is known, only of ${list.join(", ")}`);
            }
        }
        if (isFloat(value(WEIGHT_KIND)) && isStated(known, SYMMETRIC) && value(SYMMETRIC) === "no") {
            throw contradiction(grammar, SYMMETRIC, known[WEIGHT_KIND].by, "yes", known[SYMMETRIC].by, "no");
        }
        if (!isPlain(value(ACT_BITS))) return;
        for (const field of [ACT_KIND, ACT_WHEN, ACT_GROUP]) {
            if (isStated(known, field) && value(field) !== "float") {
                throw contradiction(grammar, field, known[ACT_BITS].by, "none", known[field].by, value(field));
            }
        }
    }

    // What is usual whatever the words are.
    function suppose(known) {
        if (known[WEIGHT_BITS] === null) return;
        const { value: bits, by } = known[WEIGHT_BITS];
        const usually = (field, value) => { known[field] ??= { value, by, usual: true }; };
        usually(WEIGHT_KIND, isPlain(bits) ? "float" : "int");
        const both = [ACT_KIND, ACT_WHEN, ACT_GROUP].some(field => isStated(known, field)) && ["4", "8"].includes(bits);
        usually(ACT_BITS, both ? bits : "16");
        if (!isPlain(valueOf(known, ACT_BITS))) usually(ACT_KIND, isFloat(valueOf(known, WEIGHT_KIND)) ? "float" : "int");
    }

    // ---- answers

    const SILENT = "not said";

    function marked(known, fields, text) {
        return fields.some(field => known[field] !== null && known[field].usual) ? `${text} (usual)` : text;
    }

    function gridName(kind, bits) {
        if (isPlain(bits)) return `${bits}-bit floats`;
        if (kind === "ternary") return "three values: -1, 0 and 1";
        if (["e2m3", "e3m2"].includes(kind)) return `FP6 ${kind.toUpperCase()}`;
        if (kind === "e5m2") return "FP8 E5M2";
        if (kind === "float") return { 8: "FP8 E4M3", 4: "FP4 E2M1" }[bits] ?? `floats of ${bits} bits`;
        return kind === "table" ? `indices of ${bits} bits into a table` : `int${bits}`;
    }

    function sharers(group) {
        if (group === "tensor") return "a scale for the whole tensor";
        if (group === "channel") return "a scale for each output channel";
        if (group === "token") return "a scale for each token";
        return group.includes("x") ? `a scale for each block of ${group} weights` : `a scale for ${group} neighbours along the inputs`;
    }

    function weights(known) {
        const [kind, bits] = [valueOf(known, WEIGHT_KIND), valueOf(known, WEIGHT_BITS)];
        if (bits === null) {
            const names = {
                mixed: "a mix: other bits in other layers",
                int: "integers",
                float: "floats",
                table: "indices into a table",
            };
            return names[kind] ?? SILENT;
        }
        const grid = marked(known, [WEIGHT_BITS, WEIGHT_KIND], gridName(kind, bits));
        const symmetric = valueOf(known, SYMMETRIC);
        if (kind !== "int" || isPlain(bits) || symmetric === null) return grid;
        return `${grid}, ${marked(known, [SYMMETRIC], symmetric === "yes" ? "symmetric" : "asymmetric")}`;
    }

    function granularity(known) {
        if (isPlain(valueOf(known, WEIGHT_BITS))) return "no scale";
        const group = valueOf(known, GROUP);
        return group === null ? SILENT : marked(known, [GROUP], sharers(group));
    }

    function activations(known) {
        const bits = valueOf(known, ACT_BITS);
        if (bits === null) return SILENT;
        if (isPlain(bits)) {
            const only = isPlain(valueOf(known, WEIGHT_BITS)) ? "" : ": weights only";
            return marked(known, [ACT_BITS], `${bits}-bit floats${only}`);
        }
        let text = marked(known, [ACT_BITS, ACT_KIND], gridName(valueOf(known, ACT_KIND), bits));
        const [when, group] = [valueOf(known, ACT_WHEN), valueOf(known, ACT_GROUP)];
        if (when !== null) text += `, ${marked(known, [ACT_WHEN], when)}`;
        if (group !== null) text += `, ${marked(known, [ACT_GROUP], sharers(group))}`;
        return text;
    }

    // Floats have no zero point.
    function zeroBits(known, weightBits) {
        if (isFloat(valueOf(known, WEIGHT_KIND))) return 0;
        const said = valueOf(known, ZERO_BITS);
        if (said === "w") return weightBits;
        if (said !== null) return Number(said);
        return valueOf(known, SYMMETRIC) === "no" ? weightBits : 0;
    }

    const usualScale = among => isWhole(among) ? 16 : 32;

    // What lies beside the codes: bits, and who shares them; null if that is not known.
    function beside(known, weightBits) {
        if (isPlain(String(weightBits))) return [];
        const parts = valueOf(known, BESIDE);
        if (parts !== null) return parts.split(" ").map(part => part.split("@")).map(([bits, among]) => [Number(bits), among]);
        const among = valueOf(known, GROUP);
        // A token is no share of weights.
        if (among === null || among === "token") return null;
        const scale = valueOf(known, SCALE_BITS);
        const zero = zeroBits(known, weightBits);
        return [[scale === null ? usualScale(among) : Number(scale), among], ...(zero > 0 ? [[zero, among]] : [])];
    }

    const SIDE = 4096;

    function sum(bits, shared) {
        let [text, total, ofInputs, ofOutputs] = [String(bits), bits, false, false];
        for (const [more, among] of shared) {
            const [rows, columns] = among.split("x").map(Number);
            const [name, count] = among === "tensor" ? ["(out x in)", SIDE * SIDE]
                : among === "channel" ? ["in", SIDE]
                    : among.includes("x") ? [`(${rows} x ${columns})`, rows * columns]
                        : [among, rows];
            ofInputs ||= among === "channel";
            ofOutputs ||= among === "tensor";
            text += ` + ${more}/${name}`;
            total += more / count;
        }
        if (shared.length === 0) return text;
        const rounded = Math.floor(total * 1e4 + 0.5) / 1e4;
        const place = ofOutputs ? " for 4096 x 4096" : ofInputs ? " for 4096 inputs" : "";
        return `${text} = ${rounded.toFixed(4)}${place}`;
    }

    function bitsAWeight(known) {
        const [bits, mean] = [valueOf(known, WEIGHT_BITS), valueOf(known, MEAN)];
        const shared = bits === null ? null : beside(known, Number(bits));
        if (shared === null) return mean === null ? SILENT : `${mean} in the mean, as the name says`;
        const restsOn = known[BESIDE] !== null ? BESIDE : GROUP;
        const text = marked(known, [WEIGHT_BITS, restsOn], sum(Number(bits), shared));
        return mean === null ? text : `${text}; ${mean} in the mean of a whole Llama-3.1-8B file`;
    }

    const unique = texts => [...new Set(texts.filter(text => text !== ""))];

    function openQuestions(known, found) {
        const open = [];
        for (const { word, spelled } of found) {
            for (const [field, sentence] of word.open.filter(([field]) => !isStated(known, field))) {
                const followed = known[field] !== null && known[field].by === spelled;
                const asked = open.find(other => other.field === field);
                if (asked === undefined) open.push({ field, sentence, followed });
                else if (followed && !asked.followed) Object.assign(asked, { sentence, followed });
            }
        }
        return unique(open.map(({ sentence }) => sentence));
    }

    function canonical(known) {
        const value = field => valueOf(known, field);
        const parts = [];
        const [layout, bits, acts] = [value(LAYOUT), value(WEIGHT_BITS), value(ACT_BITS)];
        // The layout of a mix says nothing of the bits, the groups and the symmetry of a weight.
        const mix = value(WEIGHT_KIND) === "mixed";
        if (layout === "NF4" || layout === "bnb FP4") parts.push(`${layout} ${value(BESIDE) === "32@64" ? "plain" : "double"}`);
        else if (layout !== null) parts.push(layout, ...(mix && bits !== null ? [`W${bits}`] : []));
        else if (bits !== null && acts !== null) parts.push(saysAll(known) ? `W${bits}A${acts}` : `W${bits} A${acts}`);
        else if (acts !== null) parts.push(`A${acts}`);
        if (layout !== null && acts !== null) parts.push(`A${acts}`);
        if (layout === null || mix) parts.push(...gridWords(known));
        if (acts !== null && !isPlain(acts)) {
            const group = value(ACT_GROUP);
            if (value(ACT_KIND) !== null) parts.push(`act-${value(ACT_KIND)}`);
            if (value(ACT_WHEN) !== null) parts.push(value(ACT_WHEN));
            if (group !== null) parts.push({ token: "per-token", tensor: "act-per-tensor" }[group] ?? `act-group=${group}`);
        }
        if (value(KV) !== null) parts.push(`kv=${value(KV)}`);
        if (value(ORDER) === "yes") parts.push("act-order");
        if (value(MEAN) !== null && bits === null) parts.push(`${value(MEAN)}bpw`);
        if (parts.length === 0 && value(METHOD) !== null) parts.push(value(METHOD));
        return parts.join(" ");
    }

    function saysAll(known) {
        const all = fields => fields.every(field => known[field] !== null);
        return isPlain(valueOf(known, WEIGHT_BITS))
            || (all([GROUP]) && (isFloat(valueOf(known, WEIGHT_KIND)) || all([SYMMETRIC])) && (isPlain(valueOf(known, ACT_BITS)) || all([ACT_WHEN, ACT_GROUP])));
    }

    function gridWords(known) {
        const value = field => valueOf(known, field);
        const words = [];
        const [kind, group, symmetric] = [value(WEIGHT_KIND), value(GROUP), value(SYMMETRIC)];
        if (kind !== null && kind !== "mixed") words.push(kind);
        if (isPlain(value(WEIGHT_BITS))) return words;
        if (group === "tensor" || group === "channel") words.push(`per-${group}`);
        else if (group !== null) words.push(group.includes("x") ? `block=${group}` : `group_size=${group}`);
        if (!isFloat(kind) && symmetric !== null) words.push(symmetric === "yes" ? "sym" : "asym");
        if (value(SCALE_BITS) !== null && (group === null || group === "token" || Number(value(SCALE_BITS)) !== usualScale(group))) words.push(`scales=${value(SCALE_BITS)}`);
        const bits = Number(value(WEIGHT_BITS));
        if (value(WEIGHT_BITS) !== null) {
            const zero = zeroBits(known, bits);
            if (!isFloat(kind) && zero !== (symmetric === "no" ? bits : 0)) words.push(`zeros=${zero}`);
        }
        return words;
    }

    // The answers that kit::card::read gives, or `{ error }`.
    function readCard(grammar, text) {
        try {
            const { found: all, unread } = findWords(grammar, text);
            const { scheme: found, apart } = setApart(all);
            const known = gather(grammar, found);
            complete(grammar, known);
            const rest = known[REST] === null ? []
                : [`only experts are quantized so: attention, router, embedding and head have ${valueOf(known, REST)}`];
            return {
                canonical: canonical(known),
                weights: weights(known),
                granularity: granularity(known),
                activations: activations(known),
                kv: valueOf(known, KV) ?? SILENT,
                bits: bitsAWeight(known),
                open: openQuestions(known, found),
                notes: [...unique([...found.map(({ word }) => word.note), ...rest]), ...apart, ...unread],
            };
        } catch (error) {
            if (error instanceof Refusal) return { error: error.message };
            throw error;
        }
    }

    Object.assign(course, { readCard, cardGrammar: grammarOf });

    // ---- the figure

    const LABELS = [
        ["reads as", "canonical"], ["weights", "weights"], ["granularity", "granularity"],
        ["activations", "activations"], ["KV cache", "kv"], ["bits a weight", "bits"],
    ];

    function rowsOf(answers) {
        if (answers.error !== undefined) return [["error", answers.error]];
        return [
            ...LABELS.map(([label, key]) => [label, answers[key] || "nothing that arithmetic can use"]),
            ...answers.open.map(text => ["open", text]),
            ...answers.notes.map(text => ["note", text]),
        ];
    }

    function mount(figure) {
        const { grammar: exported, cards, first } =
            JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
        const grammar = grammarOf(exported);
        const list = figure.querySelector(".answers");
        const show = text => {
            const answers = text.trimStart().startsWith("{")
                ? { error: "a whole config is read by the command: cargo book card config.json" }
                : readCard(grammar, text);
            list.replaceChildren(...rowsOf(answers).flatMap(([what, said]) =>
                [course.element("dt", {}, what), course.element("dd", {}, said)]));
            list.classList.toggle("refused", answers.error !== undefined);
        };
        const input = course.element("input", {
            type: "text", id: "card-reader-text", autocomplete: "off", spellcheck: "false", autocapitalize: "off",
        });
        const menu = course.menu({
            label: "one that is out there", values: cards, value: cards.indexOf(first),
            change: now => { input.value = cards[now]; show(input.value); },
        });
        input.value = first;
        input.addEventListener("input", () => show(input.value));
        const typed = course.element("div", { class: "control" },
            course.element("label", { for: input.id }, "the card"), input);
        list.before(course.element("div", { class: "controls" }, typed, menu.box));
        list.setAttribute("aria-live", "polite");
        show(first);
        figure.classList.add("live");
    }

    // The page for the printer stays as it was written.
    if (/\/print(\.html)?$/.test(location.pathname)) return;
    for (const figure of document.querySelectorAll('figure.reader[data-widget="card"]')) {
        try {
            mount(figure);
        } catch (error) {
            console.error(`the card reader ${figure.id} stays as it was written:`, error);
        }
    }
})();
